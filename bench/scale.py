"""`python -m bench.scale`: workers of one app on one topic, against a single one.

All are up and share the partitions before the load comes, all at once; the clock runs from there
until their union is exact.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.support.servers import ServerError, kafka_server
from tests.support.servers.topics import create_topics

from .filled import PARTITIONS, say
from .load import SPAN_NS, Load
from .measure import BenchError, Run, differences, get, models, tail, usage
from .ours import Worker, fresh_app_id, worker
from .pace import feeder
from .report import Spread

_SHARED_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=330_000, help="(%(default)s)")
    parser.add_argument("--models", type=int, default=10, help="deployments (%(default)s)")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 2], help="how many at a time (1 2)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args(arguments)
    runs: dict[int, list[Run]] = {number: [] for number in options.workers}
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as name:
            for repeat in range(options.repeats):
                for number in options.workers:
                    folder = Path(name) / f"{repeat}-{number}"
                    run = _run(broker.bootstrap, folder, number, options.events, options.models)
                    runs[number].append(run)
                    say(f"round {repeat + 1}: {number} workers {run.rate:,.0f} events/s")
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(runs))
    return 0


def table(runs: dict[int, list[Run]]) -> str:
    """Markdown: a row for each number of workers; ratios are to the first number's, by round."""
    first = next(iter(runs.values()))
    lines = [
        "| workers | events/s | to the first | CPU µs/event | peak MB, all |", "|---|---|---|---|---|"
    ]  # fmt: skip
    for number, found in runs.items():
        ratio = median(run.rate / one.rate for run, one in zip(found, first, strict=True))
        lines.append(
            f"| {number} | {_shown([run.rate for run in found], ',.0f')} | {ratio:.2f} "
            f"| {_shown([run.cpu_us for run in found], ',.1f')} "
            f"| {_shown([run.peak_bytes / 1e6 for run in found], ',.0f')} |"
        )
    return "\n".join(lines)


def _shown(values: Sequence[float], form: str) -> str:
    spread = Spread.of(values)
    return spread.shown(form) if spread else "-"


def _run(bootstrap: str, folder: Path, number: int, events: int, deployments: int) -> Run:
    load = Load.of_events(events, models=deployments, start_ns=time.time_ns() - SPAN_NS)
    topic, app_id = f"bench-{uuid.uuid4().hex[:12]}", fresh_app_id()
    asyncio.run(create_topics(bootstrap, [topic], PARTITIONS))
    with ExitStack() as stack:
        feed = stack.enter_context(feeder(bootstrap, topic, load, rate=None))
        workers = [
            stack.enter_context(worker(bootstrap, topic, app_id, folder / str(position)))
            for position in range(number)
        ]
        _until_shared(workers)
        expected = load.expected()
        used = sum(usage(one.process.pid).cpu_seconds for one in workers)
        feed.go()
        begin = time.monotonic()
        deadline = begin + 60 + events / 1000
        while wrong := differences(expected, [m for one in workers for m in models(one.url)]):
            _check(workers, deadline, f"wrong: {'; '.join(wrong[:5])}")
            time.sleep(0.1)
        seconds = time.monotonic() - begin
        total = [usage(one.process.pid) for one in workers]
    cpu_seconds = sum(one.cpu_seconds for one in total) - used
    return Run(
        f"{number} workers", feed.events, seconds, cpu_seconds, sum(one.peak_bytes for one in total)
    )


def _until_shared(workers: Sequence[Worker]) -> None:
    """All have a share of both logs and of the source, and nothing is held by two or none."""
    deadline = time.monotonic() + _SHARED_SECONDS
    while not shared([get(f"{one.url}/ready") for one in workers]):
        _check(workers, deadline, "the workers did not share the partitions")
        time.sleep(0.2)


def shared(bodies: Sequence[bytes | None]) -> bool:
    """By what each worker's /ready says; None of one that does not answer yet."""
    states = [json.loads(body) for body in bodies if body is not None]
    # A worker knows its lag once it has joined the source's group, and the others with it.
    if len(states) < len(bodies) or any(state["lag"] is None for state in states):
        return False
    held = [state["partitions"] for state in states]
    return all(
        sorted(part for one in held for part in one[log]) == list(range(PARTITIONS))
        and all(one[log] for one in held)
        for log in ("observations", "deltas")
    )


def _check(workers: Sequence[Worker], deadline: float, what: str) -> None:
    for one in workers:
        if one.process.poll() is not None:
            raise BenchError(f"a worker ended with {one.process.returncode}:\n{tail(one.log)}")
    if time.monotonic() > deadline:
        raise BenchError(f"{what}:\n{tail(workers[0].log)}")


if __name__ == "__main__":
    sys.exit(main())
