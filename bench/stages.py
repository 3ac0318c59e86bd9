"""Measure the CPU time of each stage of the stream, in µs per event, native and in Python.

All stages run in one process on the load's events, without Kafka and its client.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from processor.cli.options import collect_rarely

from .messages.seldon import named_scores
from .support.command import command, parser
from .support.load import Load
from .support.measure import run_json
from .support.stage_costs import STAGES, measure


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.stages", __doc__, "--events 30000 --models 100")
    line.add_argument("--events", type=int, default=300_000, help="number of events (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    line.add_argument("--classes", type=int, default=3, help="classes of each model (%(default)s)")
    line.add_argument(
        "--at-once", type=int, default=12_000,
        help="events between sends: fewer make smaller records (%(default)s)",
    )  # fmt: skip
    line.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = line.parse_args(arguments)
    if options.child:
        collect_rarely()
        kind = named_scores(options.classes)
        load = Load.of_events(options.events, options.models, kinds=(kind,))
        costs = measure(load.events(), options.at_once)
        joined, expected = costs.telemetry.joined, load.judged_answers()
        assert joined == expected, (joined, expected)
        print(json.dumps(costs.stages))
        return 0
    passed = ["--child", "--events", str(options.events), "--models", str(options.models)]
    passed += ["--at-once", str(options.at_once), "--classes", str(options.classes)]
    found = {
        name: run_json("bench.stages", passed, os.environ | {"PROCESSOR_COMPILED": name})
        for name in ("auto", "off")
    }
    print("| stage | native, CPU µs/event | Python | ratio |\n|---|--:|--:|--:|")
    for stage in STAGES:
        fast, slow = found["auto"][stage], found["off"][stage]
        print(f"| {stage} | {fast:.2f} | {slow:.2f} | {slow / fast:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
