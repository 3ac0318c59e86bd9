"""The results of a simulated week: a table, a summary, JSON and a picture."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..plot import Panel, draw_curves
from ..support.report import machine
from .traffic import Traffic
from .worker import Life, Restart, Sample


class Week(NamedTuple):
    """All that was found. `lives`, the starts with snapshots (`warm`) and those of one partition without
    (`cold`) are by worker; `written` are the observations of each hour by partition; `wrong` are the
    differences from the truth."""

    traffics: Sequence[Traffic]
    lives: Sequence[Life]
    warm: Sequence[Restart]
    cold: Sequence[Restart]
    written: Sequence[Sequence[int]]
    wrong: Sequence[str]

    @property
    def rate(self) -> float:
        """Predictions per second of log time."""
        return sum(traffic.rate for traffic in self.traffics)

    @property
    def empty(self) -> int:
        """Memory of all workers before the first record."""
        return sum(life.empty for life in self.lives)

    def samples(self) -> list[Sample]:
        """All workers together, by hour: sums, but maxima of `longest` and `flush`."""
        hours = zip(*(life.samples for life in self.lives), strict=True)
        return [
            Sample(*map(sum, zip(*hour, strict=True)))._replace(
                longest=max(sample.longest for sample in hour),
                flush=max(sample.flush for sample in hour),
            )
            for hour in hours
        ]


def table(week: Week) -> str:
    """Markdown: a row for each day of log time."""
    lines = [
        "| day | observations | requests kept | feedback that waits | memory, MiB | bytes/request "
        "| join, µs | tally, µs | longest stop, ms | checkpoint, ms | its size, MiB |",
        "|" + "--:|" * 11,
    ]
    hours = iter(week.samples())
    day = 0
    while samples := list(islice(hours, 24)):
        day += 1
        last, n = samples[-1], sum(sample.observations for sample in samples) or 1
        busy = day * 24 <= week.traffics[0].hours
        each = (last.resident - week.empty) / last.kept if busy else None
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


def summary(week: Week) -> str:
    """Lines with the totals, the snapshots and the starts."""
    first, samples = week.traffics[0], week.samples()
    full = [life.full for life in week.lives]
    snapshots = sum(each.snapshot_bytes for each in full)
    lines = [
        f"{week.rate:g} predictions/s for {first.days} days, horizon {first.horizon} h, "
        f"{len(week.traffics)} partitions, {len(week.lives)} workers: "
        f"{sum(sample.observations for sample in samples):,} observations, "
        f"{len(week.wrong)} differences from the truth; "
        f"{sum(life.too_late for life in week.lives):,} requests judged too late",
        f"snapshots at {samples[first.hours - 1].kept:,} requests: {snapshots / 2**20:,.0f} MiB; "
        f"the last ones were made and written in {max(each.snapshot_seconds for each in full):.1f} s",
    ]
    for warm, cold in zip(week.warm, week.cold, strict=True):
        (number,) = cold.digests
        read = sum(week.written[number][: first.hours])
        lines += [
            f"start of {len(warm.digests)} partitions with snapshots: {warm.seconds:.1f} s, "
            f"{warm.resident / 2**20:,.0f} MiB",
            f"start of one without: {read:,} observations in {cold.seconds:.1f} s, "
            f"{read / cold.seconds:,.0f}/s, {cold.resident / 2**20:,.0f} MiB",
        ]
    lines.append(
        f"a tally from its checkpoint: {max(each.tally_seconds for each in full):.2f} s"
    )  # fmt: skip
    return "\n".join(lines)


def write_json(path: Path, week: Week) -> None:
    """Write every hour of all workers together, and the machine."""
    first = week.traffics[0]
    found = {
        "machine": machine(),
        "rate": week.rate,
        "days": first.days,
        "horizon_hours": first.horizon,
        "partitions": len(week.traffics),
        "workers": len(week.lives),
        "differences": len(week.wrong),
        "empty_bytes": week.empty,
        "snapshot_bytes": sum(life.full.snapshot_bytes for life in week.lives),
        "restart_seconds": {
            "snapshots": [restart.seconds for restart in week.warm],
            "log of one partition": [restart.seconds for restart in week.cold],
        },
        "columns": Sample._fields,
        "hours": week.samples(),
    }
    path.write_text(json.dumps(found) + "\n")


def draw(path: Path, week: Week) -> None:
    """Draw requests, memory, CPU time and checkpoint size by day of log time; a PNG."""
    samples, first = week.samples(), week.traffics[0]
    days = [(number + 1) / 24 for number in range(len(samples))]
    busy = days[: first.hours]

    def each(column: str) -> list[float]:
        found = samples[: first.hours]
        return [getattr(sample, column) / sample.observations * 1e6 for sample in found]

    draw_curves(
        path,
        f"{week.rate:g} predictions/s for {first.days} days of log time, "
        f"horizon {first.horizon / 24:g} days",
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
        {"the last prediction": [first.days]},
    )  # fmt: skip
