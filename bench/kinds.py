"""Measure the CPU time of an event by the kind of its message, native and by the general way.

The general way is Python alone. All stages run in one process, without Kafka and its client. Each kind
of each way is measured in a process of its own; 63 of 100 predictions get feedback, which comes up to
some thousands of events later unless the kind says otherwise.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from processor.cli.options import collect_rarely
from processor.domain.model_rules import ModelRules

from .messages.catalog import kinds
from .messages.kind import Kind
from .support.command import command, parser, say
from .support.load import Load
from .support.measure import BenchError, run_json
from .support.report import machine
from .support.stage_costs import measure

#: The ways and the value of PROCESSOR_COMPILED that chooses each.
_WAYS = {"native": "auto", "general": "off"}
_SHOWN = ("events to rows", "join", "tally", "all")
_MODELS, _AT_ONCE = 10, 12_000


@command
def main(arguments: Sequence[str] | None = None) -> int:
    catalog = kinds()
    line = parser("bench.kinds", __doc__, "--events 20000 --kinds common v2 rows-5")
    line.add_argument(
        "--events", type=int, default=60_000, help="number of events of a kind (%(default)s)"
    )
    line.add_argument(
        "--kinds", nargs="+", choices=catalog, default=list(catalog), metavar="KIND",
        help=f"the kinds to measure (all): {', '.join(catalog)}",
    )  # fmt: skip
    line.add_argument(
        "--json", type=Path, nargs="?", const=Path("bench/kinds.json"),
        help="write every figure to this file (%(const)s)",
    )  # fmt: skip
    line.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = line.parse_args(arguments)
    if options.child:
        collect_rarely()
        print(json.dumps(costs(catalog[options.kinds[0]], options.events)))
        return 0
    before, found = machine(), {}
    for number, name in enumerate(options.kinds, start=1):
        found[name] = _both_ways(name, catalog[name], options.events)
        native, general = (found[name][way]["all"] for way in _WAYS)
        say(f"{number}/{len(options.kinds)} {name}: {native:.1f} µs native, {general:.1f} general")
    print(table(found))
    if options.json:
        whole = {"machine": before, "events": options.events, "kinds": found}
        options.json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
        say(f"written to {options.json}")
    return 0


def _both_ways(name: str, kind: Kind, events: int) -> dict[str, Any]:
    passed = ["--child", "--events", str(events), "--kinds", name]
    measured = {
        way: run_json("bench.kinds", passed, os.environ | {"PROCESSOR_COMPILED": value})
        for way, value in _WAYS.items()
    }
    return {"title": kind.title, "rows": kind.rows, **measured}


def costs(kind: Kind, events: int) -> dict[str, float]:
    """CPU µs per event, by stage. A BenchError if an event was not read and joined as it should be."""
    load = Load.of_events(events, _MODELS, kinds=(kind,), shuffled=False)
    rules = ModelRules([kind.rule] if kind.rule else ())
    measured = measure(kind.records(load.events()), _AT_ONCE, rules)
    telemetry, joined = measured.telemetry, load.judged_answers()
    if telemetry.not_scorable or telemetry.joined != joined:
        raise BenchError(
            f"{kind.title}: {telemetry.joined} joined, not {joined}; not scorable: "
            f"{dict(telemetry.not_scorable)}"
        )
    return measured.stages


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each kind, and one per row of the message for batches."""
    lines = [
        "| kind of message | native: to rows | join | tally | all | to the first "
        "| general: to rows | join | tally | all |",
        "|---" + "|--:" * 9 + "|",
    ]
    first = next(iter(found.values()), None)
    for each in found.values():
        assert first is not None
        lines.append(_line(each["title"], each, 1, first))
        if each["rows"] > 1:
            lines.append(_line("the same, per row", each, each["rows"], first))
    return "\n".join(lines)


def _line(title: str, each: Mapping[str, Any], rows: int, first: Mapping[str, Any]) -> str:
    ratio = each["native"]["all"] / rows / first["native"]["all"]
    native, general = ([f"{each[way][stage] / rows:.1f}" for stage in _SHOWN] for way in _WAYS)
    return f"| {' | '.join([title, *native, f'{ratio:.1f}', *general])} |"


if __name__ == "__main__":
    sys.exit(main())
