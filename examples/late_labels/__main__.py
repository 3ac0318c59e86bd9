"""Print, for each of the last days, its true accuracy and what one would have read at its end."""

import sys
from collections.abc import Iterator
from datetime import timedelta

from examples.late_labels.world import START, World
from processor import evaluate

_HEAD = ("day", "judged", "truth", "by request", "by feedback", "nowcast", "95 % interval")


def table(world: World, shown: int = 8, seed: int = 1) -> Iterator[tuple[str, ...]]:
    """Yield the head and a row for each of the last ``shown`` days."""
    yield _HEAD
    rows = list(world.rows(seed))
    columns = [{key: value for key, value in row.items() if key != "right"} for row in rows]
    for day in range(world.days - shown, world.days):
        start = START + timedelta(days=day)
        end = start + timedelta(days=1)
        # As of midnight nothing is known of the labels that come later.
        by_request = evaluate(columns, start=start, end=end, as_of=end)["payments"]
        by_feedback = evaluate(columns, by="feedback", start=start, end=end, as_of=end)["payments"]
        right = [row["right"] for row in rows if row["request_id"].startswith(f"{day}-")]
        nowcast = by_request.nowcast
        assert nowcast is not None
        interval = f"{_percent(nowcast.accuracy_low)} to {_percent(nowcast.accuracy_high)}"
        yield (
            f"{start:%-d %b}",
            _percent(by_request.coverage),
            _percent(sum(right) / len(right)),
            _percent(by_request.accuracy),
            _percent(by_feedback.accuracy),
            _percent(nowcast.accuracy),
            nowcast.withheld or interval,
        )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


if __name__ == "__main__":
    world = World(per_day=int(sys.argv[1])) if len(sys.argv) > 1 else World()
    for line in table(world):
        print("  ".join(f"{cell:>11}" for cell in line).rstrip(), flush=True)
