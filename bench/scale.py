"""Compare several workers of one app on one topic with a single worker.

All workers are up and share the partitions before the load comes, all at once. The clock runs from
there until their counts together are exact.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from .support.command import command, kafka_and_folder, parser, say
from .support.load import SPAN_NS, Load
from .support.measure import Run, Service, get, usage, wait_until, wait_until_exact
from .support.processor_app import fresh_name, worker
from .support.rate_limit import feeder
from .support.report import Spread
from .support.topic_fill import PARTITIONS, fresh_topic

_SHARED_SECONDS = 120.0


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.scale", __doc__, "--events 50000 --repeats 1 --workers 1 2")
    line.add_argument("--events", type=int, default=330_000, help="number of events (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    line.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[1, 2],
        help="numbers of workers, a run each (1 2)",
    )
    line.add_argument("--repeats", type=int, default=3, help="rounds (%(default)s)")
    options = line.parse_args(arguments)
    runs: dict[int, list[Run]] = {number: [] for number in options.workers}
    with kafka_and_folder() as (bootstrap, folder):
        for repeat in range(options.repeats):
            for number in options.workers:
                part = folder / f"{repeat}-{number}"
                run = _run(bootstrap, part, number, options.events, options.models)
                runs[number].append(run)
                say(f"round {repeat + 1}: {number} workers {run.rate:,.0f} events/s")
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
    topic, app_id = fresh_topic(bootstrap), fresh_name()
    with ExitStack() as stack:
        feed = stack.enter_context(feeder(bootstrap, topic, load, rate=None))
        workers = [
            stack.enter_context(worker(bootstrap, topic, app_id, folder / str(position)))
            for position in range(number)
        ]
        wait_until_shared(workers)
        expected = load.expected()
        used = sum(usage(one.process.pid).cpu_seconds for one in workers)
        feed.go()
        begin = time.monotonic()
        wait_until_exact(workers, expected, 60 + events / 1000)
        seconds = time.monotonic() - begin
        total = [usage(one.process.pid) for one in workers]
    cpu_seconds = sum(one.cpu_seconds for one in total) - used
    return Run(
        f"{number} workers", feed.events, seconds, cpu_seconds, sum(one.peak_bytes for one in total)
    )


def wait_until_shared(workers: Sequence[Service]) -> None:
    """Wait until each partition of both logs is held by exactly one worker, and each has some."""
    wait_until(
        lambda: shared([get(f"{one.url}/ready") for one in workers]), workers, _SHARED_SECONDS,
        lambda: "the workers did not share the partitions", pause=0.2,
    )  # fmt: skip


def shared(bodies: Sequence[bytes | None]) -> bool:
    """Whether the workers share all partitions, by their answers to /ready; None is no answer yet."""
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


if __name__ == "__main__":
    sys.exit(main())
