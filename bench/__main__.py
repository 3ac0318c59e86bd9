"""Compare the processor with a plain consumer and with other systems at the same job.

Every system reads the same topic in a process of its own. Its time counts only if its counts become
exact. The systems take turns, so that a noisy machine is noisy for all of them. There are two loads:
one of the kind of message that costs least, and a mixed one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import decode
from .messages.catalog import MIXED
from .peers.systems import SYSTEMS, TITLES, System, prepare, run
from .support.command import command, kafka_and_folder, parser, say
from .support.load import PLAIN
from .support.report import Results, machine, table, write_json
from .support.topic_fill import fill

#: The kinds of messages in each load; the mixed one tells more, so it comes first.
_LOADS = {"mixed": MIXED, "plain": (PLAIN,)}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    before = machine()
    systems = [system for system in SYSTEMS if system.name in options.systems]
    titles = {system.name: system.title for system in systems}
    missing = prepare(systems)
    loads = {name: Results(titles, left_out=dict(missing)) for name in options.load}
    well = True
    with kafka_and_folder() as (bootstrap, folder):
        for name, results in loads.items():
            say(f"{name} load")
            well = _measure(options, name, systems, results, bootstrap, folder / name) and well
    for name, results in loads.items():
        print(f"{name} load:\n\n{table(results)}\n")
    costs = decode.costs()
    print(decode.table(costs))
    if options.json:
        write_json(options.json, loads, before, costs)
        say(f"written to {options.json}")
    return 0 if well else 1


def _measure(
    options: argparse.Namespace, name: str, systems: Sequence[System], results: Results,
    bootstrap: str, folder: Path,
) -> bool:  # fmt: skip
    """Fill `results` with a load, round by round; whether all went well."""
    well, kinds = True, _LOADS[name]
    filled = fill(bootstrap, options.events, options.models, kinds)
    for number in range(1, options.repeats + 1):
        results.rounds.append({})
        for system in systems:
            if system.name in results.left_out or (system.once and number > 1):
                continue
            load = filled
            if system.once:
                # Its rate does not depend on their number.
                events = min(options.events, options.naive_events)
                load = fill(bootstrap, events, options.models, kinds)
            job = load.job(folder / f"{number}-{system.name}")
            well = run(system, job, results) and well
    return well


def _parser() -> argparse.ArgumentParser:
    line = parser(
        "bench", __doc__, "--load mixed --events 50000 --repeats 1 --systems bare processor"
    )
    line.add_argument(
        "--events", type=int, default=330_000, help="number of events on the topic (%(default)s)"
    )
    line.add_argument(
        "--load", nargs="+", choices=_LOADS, default=list(_LOADS),
        help="plain: rows of three scores; mixed: a third KServe's v2 with request events, a third "
        "one probability, its feedback with request and response, a third batches of five (both)",
    )  # fmt: skip
    line.add_argument(
        "--models",
        type=int,
        default=10,
        help="number of deployments; the mixed load rounds up to a multiple of three (%(default)s)",
    )
    line.add_argument(
        "--repeats", type=int, default=3, help="rounds, of all systems but naive (%(default)s)"
    )
    line.add_argument(
        "--naive-events", type=int, default=20_000, help="events for naive (%(default)s)"
    )
    line.add_argument(
        "--systems", nargs="+", choices=TITLES, default=list(TITLES), help="systems to run (all)"
    )
    line.add_argument(
        "--json", type=Path, nargs="?", const=Path("bench/results.json"),
        help="write every run to this file (%(const)s)",
    )  # fmt: skip
    return line


if __name__ == "__main__":
    sys.exit(main())
