"""The table of a benchmark's runs, and the same as JSON."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from .measure import Run

_TITLES = {
    "bare": "bare aiokafka + msgspec, decode only",
    "processor": "processor",
    "naive": "naive Faust, a table write per event",
}


def table(rounds: Sequence[dict[str, Run]]) -> str:
    """Markdown: a row for each system; a share of the bare loop is of the same round's."""
    naive = _values(rounds, "naive", lambda run: run.rate)
    lines = [
        "| system | events/s, median (min-max) | of bare | to naive | CPU µs/event | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for system, title in _TITLES.items():
        rates = _values(rounds, system, lambda run: run.rate)
        if not rates:
            continue
        shares = [
            one[system].rate / one["bare"].rate for one in rounds if {system, "bare"} <= one.keys()
        ]
        lines.append(
            f"| {title} | {median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f}) "
            f"| {_number(shares, '.3f')} "
            f"| {_number([median(rates) / rate for rate in naive], '.1f')} "
            f"| {_number(_values(rounds, system, lambda run: run.cpu_us), '.1f')} "
            f"| {_number(_values(rounds, system, lambda run: run.peak_bytes / 1e6), '.0f')} |"
        )
    return "\n".join(lines)


def write_json(path: Path, rounds: Sequence[dict[str, Run]], decoding: dict[str, float]) -> None:
    """All runs, and µs of decoding by kind of event."""
    path.write_text(
        json.dumps(
            {
                "machine": {
                    "cores": len(os.sched_getaffinity(0)),
                    "platform": platform.platform(),
                    "python": platform.python_version(),
                },
                "runs": [asdict(run) for one in rounds for run in one.values()],
                "decoding_us": decoding,
            },
            indent=2,
        )
        + "\n"
    )


def _values(
    rounds: Sequence[dict[str, Run]], system: str, value: Callable[[Run], float]
) -> list[float]:
    return [value(one[system]) for one in rounds if system in one]


def _number(values: Sequence[float], form: str) -> str:
    return format(median(values), form) if values else "-"
