"""`python -m bench.week`: a week of log time and more through the join and the tally of one partition.

Predictions come at a steady rate for some days, their feedback from half a minute to 9/7 of the horizon
later; 1 % of both comes twice, 1 % of the feedback is corrected, some comes before its prediction. The
records are written to files first; a process of its own folds them as a worker does (`JoinStage` with
its snapshots, `TallyStage` with a checkpoint every 6 hours, ticks), and others start from what is left:
with a snapshot and without one. Every bucket and window, the requests in memory and those judged too
late must equal what follows from the generator alone.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from .curves import Panel, draw
from .filled import say
from .machine import description
from .measure import end_in_order_on_sigterm
from .traffic import Traffic
from .week_parts import Life, Restart, Sample, live, start, write
from .week_truth import differences

R = TypeVar("R")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.week", description=__doc__)
    parser.add_argument(
        "--rate", type=float, default=20, help="predictions per second of log time (%(default)s)"
    )
    parser.add_argument("--days", type=int, default=10, help="of predictions (%(default)s)")
    parser.add_argument("--horizon", type=int, default=168, help="in hours (%(default)s)")
    parser.add_argument("--json", type=Path, help="write every hour there")
    parser.add_argument("--picture", type=Path, help="draw memory and time there, a PNG")
    options = parser.parse_args(arguments)
    end_in_order_on_sigterm()
    traffic = Traffic(options.rate, options.days, options.horizon)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for part in ("journal", "data", "restart", "empty"):
            (folder / part).mkdir()
        written = _apart(write, traffic, folder / "journal")
        say(f"{sum(written):,} observations written after {time.monotonic() - begin:.0f} s")
        life = _apart(live, traffic, folder, written)
        say(f"folded after {time.monotonic() - begin:.0f} s")
        restarts = {
            data: _apart(start, traffic, folder / "journal", folder / data, life.full.next_offset)
            for data in ("restart", "empty")
        }
        say(f"started twice after {time.monotonic() - begin:.0f} s")
    wrong = [line for look in life.looks for line in differences(traffic, look)]
    wrong += _wrong_ends(traffic, life, restarts)
    print(table(traffic, life))
    print("\n" + summary(traffic, life, restarts, wrong))
    if options.json:
        _write(options.json, traffic, life, restarts, wrong)
    if options.picture:
        _draw(options.picture, traffic, life)
    for line in wrong[:20]:
        print(f"bench: {line}", file=sys.stderr)
    say(f"{time.monotonic() - begin:.0f} s in all")
    return 1 if wrong else 0


def _apart(work: Callable[..., R], *arguments: Any) -> R:
    """In a fresh process: what another part has left would be counted, or hide what it takes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _wrong_ends(
    traffic: Traffic, life: Life, restarts: Mapping[str, Restart]
) -> list[str]:  # fmt: skip
    wrong = [
        f"a start from {data!r} comes to another state"
        for data, restart in restarts.items()
        if restart.digest != life.full.digest
    ]
    if not life.full.tally_equal:
        wrong.append("the tally's checkpoint holds something else than its memory")
    if life.left:
        wrong.append(f"{life.left} requests are in memory a horizon after the last record")
    if life.too_late != life.looks[-1].alone:
        wrong.append(f"{life.too_late} requests were told late, not {life.looks[-1].alone}")
    return wrong


def table(traffic: Traffic, life: Life) -> str:
    """Markdown: a row for each day of log time."""
    lines = [
        "| day | observations | requests kept | feedback that waits | memory, MiB | bytes/request "
        "| join, µs | tally, µs | longest stop, ms | checkpoint, ms | its size, MiB |",
        "|" + "--:|" * 11,
    ]
    hours = iter(life.samples)
    day = 0
    while samples := list(islice(hours, 24)):
        day += 1
        last, n = samples[-1], sum(sample.observations for sample in samples) or 1
        each = (last.resident - life.empty) / last.kept if day * 24 <= traffic.hours else None
        lines.append(
            f"| {day} | {n:,} | {last.kept:,} | {last.unmatched:,} | {last.resident / 2**20:,.0f} "
            f"| {'' if each is None else format(each, '.1f')} "
            f"| {sum(s.join for s in samples) / n * 1e6:.2f} "
            f"| {sum(s.tally for s in samples) / n * 1e6:.2f} "
            f"| {max(s.longest for s in samples) * 1e3:.0f} "
            f"| {max(s.flush for s in samples) * 1e3:.0f} "
            f"| {last.table_bytes / 2**20:.2f} |"
        )
    return "\n".join(lines)


def summary(
    traffic: Traffic, life: Life, restarts: Mapping[str, Restart], wrong: Sequence[str]
) -> str:  # fmt: skip
    """What the table does not show."""
    full, (first, second) = life.full, (restarts["restart"], restarts["empty"])
    read = sum(sample.observations for sample in life.samples[: traffic.hours])
    kept = life.samples[traffic.hours - 1].kept
    return "\n".join(
        [
            f"{traffic.rate:g} predictions/s for {traffic.days} days, horizon {traffic.horizon} h: "
            f"{sum(sample.observations for sample in life.samples):,} observations, "
            f"{len(wrong)} differences from the truth; {life.too_late:,} requests judged too late",
            f"snapshot at {kept:,} requests: {full.snapshot_bytes / 2**20:,.0f} MiB, made and "
            f"written in {full.snapshot_seconds:.1f} s",
            f"start with it: {first.seconds:.1f} s, {first.resident / 2**20:,.0f} MiB",
            f"start without one: {read:,} observations in {second.seconds:.1f} s, "
            f"{read / second.seconds:,.0f}/s, {second.resident / 2**20:,.0f} MiB",
            f"the tally from its checkpoint: {full.tally_seconds:.2f} s",
        ]
    )


def _write(
    path: Path, traffic: Traffic, life: Life, restarts: Mapping[str, Restart], wrong: Sequence[str]
) -> None:  # fmt: skip
    found = {
        "machine": description(),
        "rate": traffic.rate,
        "days": traffic.days,
        "horizon_hours": traffic.horizon,
        "differences": len(wrong),
        "empty_bytes": life.empty,
        "snapshot_bytes": life.full.snapshot_bytes,
        "restart_seconds": {name: restart.seconds for name, restart in restarts.items()},
        "columns": Sample._fields,
        "hours": life.samples,
    }
    path.write_text(json.dumps(found) + "\n")


def _draw(path: Path, traffic: Traffic, life: Life) -> None:
    samples = life.samples
    days = [(number + 1) / 24 for number in range(len(samples))]
    busy = days[: traffic.hours]

    def each(column: str) -> list[float]:
        found = samples[: traffic.hours]
        return [getattr(sample, column) / sample.observations * 1e6 for sample in found]

    draw(
        path,
        f"{traffic.rate:g} predictions/s for {traffic.days} days of log time, "
        f"horizon {traffic.horizon / 24:g} days",
        "day of log time",
        [
            Panel("millions", {
                "requests kept": (days, [sample.kept / 1e6 for sample in samples]),
                "feedback that waits": (days, [sample.unmatched / 1e6 for sample in samples]),
            }),
            Panel("MiB", {"memory": (days, [sample.resident / 2**20 for sample in samples])}),
            Panel("µs/observation", {"join": (busy, each("join")), "tally": (busy, each("tally"))}),
            Panel("MiB", {"checkpoint": (days, [s.table_bytes / 2**20 for s in samples])}),
        ],
        {"the last prediction": [traffic.days]},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
