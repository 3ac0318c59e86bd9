"""`python -m bench`: the processor against a bare read loop and a naive Faust app.

Every system reads the same topic, must reach the exact truth before its time counts, and runs
in a process of its own; they take turns, so that a noisy machine is noisy for all of them.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.servers import ServerError, kafka_server
from tests.servers.process import free_port
from tests.servers.topics import create_topics

from . import bare, decode, naive_faust, ours
from .load import SPAN_NS, Expected, Load, produce
from .measure import BenchError, Run
from .report import table, write_json

_SYSTEMS = ("bare", "processor", "naive")
_PARTITIONS = 8


class Filled:
    """A topic with a load on it, and the load's truth."""

    def __init__(self, bootstrap: str, load: Load) -> None:
        self.topic = f"bench-{uuid.uuid4().hex[:12]}"
        self.expected: Expected = load.expected()
        asyncio.run(create_topics(bootstrap, [self.topic], _PARTITIONS))
        begin = time.perf_counter()
        self.events = asyncio.run(produce(bootstrap, self.topic, load, _PARTITIONS))
        rate = self.events / (time.perf_counter() - begin)
        say(f"{self.events:,} events, {self.expected.judged:,} judged; produced at {rate:,.0f}/s")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            rounds = _rounds(options, broker.bootstrap, Path(folder))
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(rounds))
    costs = decode.costs()
    print("\n" + decode.table(costs))
    if options.json:
        write_json(options.json, rounds, costs)
        say(f"written to {options.json}")
    return 0


def _rounds(options: argparse.Namespace, bootstrap: str, folder: Path) -> list[dict[str, Run]]:
    # The last event is now: in a live run too, events fall into open windows.
    start_ns = time.time_ns() - SPAN_NS
    load = Load.of_events(options.events, models=options.models, start_ns=start_ns)
    filled = Filled(bootstrap, load)
    rounds = []
    for number in range(options.repeats):
        one: dict[str, Run] = {}
        if "bare" in options.systems:
            one["bare"] = bare.run(bootstrap, filled.topic, filled.events)
        if "processor" in options.systems:
            one["processor"] = ours.run(
                bootstrap, filled.topic, (free_port(), free_port()), filled.events,
                filled.expected, folder / f"round-{number}",
            )  # fmt: skip
        if "naive" in options.systems and number == 0:
            one["naive"] = _naive(options, bootstrap, folder, start_ns)
        rounds.append(one)
        for run in one.values():
            say(f"round {number + 1}: {run.system} {run.rate:,.0f} events/s")
    return rounds


def _naive(options: argparse.Namespace, bootstrap: str, folder: Path, start_ns: int) -> Run:
    """On fewer events, being some thirty times slower: its rate does not depend on their number."""
    events = min(options.events, options.naive_events)
    load = Load.of_events(events, models=options.models, start_ns=start_ns)
    filled = Filled(bootstrap, load)
    app_id = naive_faust.fresh_app_id()
    internal = naive_faust.internal_topics(app_id, filled.topic)
    asyncio.run(create_topics(bootstrap, internal, _PARTITIONS))
    return naive_faust.run(
        bootstrap, filled.topic, app_id, free_port(), filled.events, filled.expected, folder
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--events", type=int, default=330_000, help="on the topic (%(default)s)")
    parser.add_argument("--models", type=int, default=10, help="deployments (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of all but naive (%(default)s)")
    parser.add_argument("--naive-events", type=int, default=20_000, help="its slice (%(default)s)")
    parser.add_argument(
        "--systems", nargs="+", choices=_SYSTEMS, default=list(_SYSTEMS), help="which to run"
    )
    parser.add_argument(
        "--json", type=Path, nargs="?", const=Path("bench/results.json"),
        help="write every run there (%(const)s)",
    )  # fmt: skip
    return parser


def say(line: str) -> None:
    """Progress, apart from the table on stdout."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
