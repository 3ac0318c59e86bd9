"""`python -m bench`: the processor, a bare read loop, and other systems at the same job.

Every system reads the same topic, must reach the exact truth before its time counts, and runs
in a process of its own; they take turns, so that a noisy machine is noisy for all of them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import ServerError, kafka_server

from . import decode, rounds
from .filled import fill, say
from .machine import description
from .measure import BenchError
from .report import Results, table, write_json
from .systems import SYSTEMS, TITLES, System


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    machine = description()
    systems = [system for system in SYSTEMS if system.name in options.systems]
    results = Results({system.name: system.title for system in systems})
    rounds.prepare(systems, results)
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            well = _measure(options, systems, results, broker.bootstrap, Path(folder))
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(results))
    costs = decode.costs()
    print("\n" + decode.table(costs))
    if options.json:
        write_json(options.json, results, machine, costs)
        say(f"written to {options.json}")
    return 0 if well else 1


def _measure(
    options: argparse.Namespace, systems: Sequence[System], results: Results, bootstrap: str,
    folder: Path,
) -> bool:  # fmt: skip
    """Fill `results`, round by round; whether all went well."""
    well = True
    filled = fill(bootstrap, options.events, options.models)
    for number in range(1, options.repeats + 1):
        results.rounds.append({})
        for system in systems:
            if system.name in results.left_out or (system.once and number > 1):
                continue
            load = filled
            if system.once:
                # Its rate does not depend on their number.
                load = fill(bootstrap, min(options.events, options.naive_events), options.models)
            job = load.job(folder / f"{number}-{system.name}")
            well = rounds.run(system, job, results) and well
    return well


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=330_000, help="on the topic (%(default)s)")
    parser.add_argument("--models", type=int, default=10, help="deployments (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of all but naive (%(default)s)")
    parser.add_argument("--naive-events", type=int, default=20_000, help="its slice (%(default)s)")
    parser.add_argument(
        "--systems", nargs="+", choices=TITLES, default=list(TITLES), help="which to run"
    )
    parser.add_argument(
        "--json", type=Path, nargs="?", const=Path("bench/results.json"),
        help="write every run there (%(const)s)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
