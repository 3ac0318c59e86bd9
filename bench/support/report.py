"""A benchmark's results: medians and spread per system, as a table and as JSON, and the machine."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.servers.kafka import VERSION as KAFKA

from .measure import Run

#: The systems to whose rate the others' are compared, and the titles of these columns.
_BASES = {
    "bare": "of bare",
    "kafka-streams": "to Kafka Streams",
    "kafka-streams-eos": "to its exactly-once",
    "naive": "to naive",
}


@dataclass
class Results:
    """`titles`: the systems asked for, by name; `left_out`: the reason of each without a run."""

    titles: Mapping[str, str]
    rounds: list[dict[str, Run]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """The median of some values, and their range."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None of no values."""
        return cls(median(values), min(values), max(values)) if values else None

    def shown(self, form: str) -> str:
        """As "median (min-max)"; `form` is a format specification."""
        return f"{self.median:{form}} ({self.min:{form}}-{self.max:{form}})"


@dataclass(frozen=True)
class Row:
    """One system: rate in events/s, its ratio to each base that ran, cost and memory.

    All are None where it was left out, for the reason given.
    """

    system: str
    title: str
    events: int
    runs: int
    rate: Spread | None
    ratios: dict[str, Spread | None]
    cpu_seconds: Spread | None
    cpu_us: Spread | None
    peak_mb: Spread | None
    left_out: str | None


def rows(results: Results) -> list[Row]:
    """A row for each system asked for, in the order of the titles."""
    return [_row(results, name, title) for name, title in results.titles.items()]


def _row(results: Results, system: str, title: str) -> Row:
    runs = [one[system] for one in results.rounds if system in one]

    def spread(value: Callable[[Run], float]) -> Spread | None:
        return Spread.of([value(run) for run in runs])

    return Row(
        system=system,
        title=title,
        events=max((run.events for run in runs), default=0),
        runs=len(runs),
        rate=spread(lambda run: run.rate),
        ratios={base: Spread.of(_ratios(results.rounds, system, base)) for base in _BASES},
        cpu_seconds=spread(lambda run: run.cpu_seconds),
        cpu_us=spread(lambda run: run.cpu_us),
        peak_mb=spread(lambda run: run.peak_bytes / 1e6),
        left_out=results.left_out.get(system),
    )


def _ratios(rounds: Sequence[Mapping[str, Run]], system: str, base: str) -> list[float]:
    """Within each round; to the base's median where one of the two ran in fewer rounds."""
    rates = [one[base].rate for one in rounds if base in one]
    if not rates:
        return []
    middle = median(rates)
    return [
        one[system].rate / (one[base].rate if base in one else middle)
        for one in rounds
        if system in one
    ]


def table(results: Results) -> str:
    """Markdown: median, and (min-max); ratios are medians."""
    found = rows(results)
    most = max((row.events for row in found), default=0)
    lines = [
        "| system | events/s | " + " | ".join(_BASES.values())
        + " | CPU s | CPU µs/event | peak MB |",
        "|---" * (5 + len(_BASES)) + "|",
    ]  # fmt: skip
    lines += [_line(row, most) for row in found]
    return "\n".join(lines)


def _line(row: Row, most: int) -> str:
    if row.rate is None:
        cells = [f"left out: {row.left_out}", *["-"] * (3 + len(_BASES))]
    else:
        cells = [
            _shown(row.rate, ",.0f"),
            *(_ratio(ratio) for ratio in row.ratios.values()),
            _shown(row.cpu_seconds, ",.1f"),
            _shown(row.cpu_us, ",.1f"),
            _shown(row.peak_mb, ",.0f"),
        ]
    title = row.title
    if row.rate and row.events < most:
        title += f" ({row.events:,} events)"
    if row.rate and row.left_out:
        title += f" (then left out: {row.left_out})"
    return f"| {title} | " + " | ".join(cells) + " |"


def _shown(spread: Spread | None, form: str) -> str:
    return spread.shown(form) if spread else "-"


def _ratio(spread: Spread | None) -> str:
    return f"{spread.median:.3g}" if spread else "-"


def write_json(
    path: Path, loads: Mapping[str, Results], found: Mapping[str, Any],
    decoding: Mapping[str, float],
) -> None:  # fmt: skip
    """Write the machine as `machine` found it; for each load a row per system and every run with its
    round; and the CPU time for decoding an event of each kind, in microseconds."""
    whole = {
        "machine": found,
        "loads": {name: _load(results) for name, results in loads.items()},
        "decoding_us": decoding,
    }
    path.write_text(json.dumps(whole, indent=2) + "\n")


def _load(results: Results) -> dict[str, Any]:
    return {
        "systems": [asdict(row) for row in rows(results)],
        "runs": [
            {"round": number, **asdict(run)}
            for number, one in enumerate(results.rounds, start=1)
            for run in one.values()
        ],
    }


def machine() -> dict[str, Any]:
    """The machine that this runs on: CPU, usable cores, memory in GiB, versions, and the load now."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "java": _java(),
        "kafka": "as given" if os.environ.get("PROCESSOR_TEST_KAFKA") else KAFKA,
        "load_average_before": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _java() -> str | None:
    java = shutil.which("java")
    if java is None:
        return None
    done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    return next(iter(done.stderr.splitlines()), None)
