"""Measure how long an app is behind after one of its two workers was killed, on a real Kafka.

The log is filled with requests, most of which have feedback; two workers fold it and keep them all. Then
comes a steady load, and one worker gets `kill -9`: the clock runs until the other one holds all
partitions, is up to date with all of them, and has put all but the last moment of the load on the log.
First with shared snapshots in a folder, then without any for the partitions that it takes over. A time
counts only if the counts are exact in the end.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from processor.domain.log.deltas import partition_of
from processor.domain.log.records import encode
from processor.kafka.clients import Kafka
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings

from .scale import shared
from .soak.repeat_sender import repeating
from .support.command import command, kafka_and_folder, parser, say
from .support.load import NAMES, Expected, ModelCounts, deployment
from .support.measure import (
    BenchError,
    Service,
    differences,
    get,
    metric,
    models,
    resident_bytes,
    tail,
    usage,
    wait_until,
)
from .support.processor_app import fresh_name, worker
from .support.rows import (
    TRUTH,
    feedback_rows,
    model_keys,
    packed_batch,
    prediction_rows,
    request_ids,
)
from .support.topic_fill import PARTITIONS, fresh_topic

SHARED, WITHOUT = "with shared snapshots", "without"
_FEEDBACK, _STEP, _ROWS = 0.63, 100_000, 2000
_SPAN, _DELAY = 3600 * 10**9, 10**9
#: Time limits for the workers to be up to date and to have copied their snapshots, and for a takeover.
_UP_SECONDS, _LIMIT = 1200.0, 600.0
#: Seconds of the load that may be on their way when the app is taken for up to date.
_ON_THE_WAY = 0.5
_POLL = 0.2


class Takeover(NamedTuple):
    """A takeover: the `seconds` from the kill until lag is 0 again, those of them until the partitions
    were assigned, and the memory of the worker that stays, before and at most."""

    title: str
    seconds: float
    assigned: float
    memory: int
    peak: int


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.takeover", __doc__, "--requests 200000")
    line.add_argument("--requests", type=int, default=1_000_000, help="requests kept (%(default)s)")
    line.add_argument("--rate", type=float, default=1000, help="events a second (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    options = line.parse_args(arguments)
    with kafka_and_folder() as (bootstrap, folder):
        found = _run(bootstrap, folder, options)
    print(table(found, options.requests))
    return 0


def table(found: Sequence[Takeover], requests: int) -> str:
    """Markdown: a row for each takeover."""
    lines = [
        f"| {requests:,} requests | lag 0 after | of this until assigned | memory | at most |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one.title} | {one.seconds:.1f} s | {one.assigned:.1f} s | {one.memory / 2**20:,.0f} MiB "
        f"| {one.peak / 2**20:,.0f} MiB |"
        for one in found
    ]
    return "\n".join(lines)


def _run(bootstrap: str, folder: Path, options: argparse.Namespace) -> list[Takeover]:
    app_id, topic = fresh_name(), fresh_topic(bootstrap)
    begin = time.monotonic()
    expected = asyncio.run(fill(bootstrap, app_id, options.requests, options.models))
    say(f"{options.requests:,} requests put on the log in {time.monotonic() - begin:.0f} s")
    copies = folder / "shared"
    copies.mkdir()
    found = []
    with repeating(bootstrap, topic, options.rate, float("inf"), options.models) as load:
        for title in (SHARED, WITHOUT):
            settings = {"PROCESSOR_SNAPSHOTS": f"file://{copies}"} if title == SHARED else {}
            with ExitStack() as stack:
                both = [
                    stack.enter_context(worker(bootstrap, topic, app_id, folder / str(n), settings))
                    for n in range(2)
                ]
                found.append(_taken_over(title, both, folder, options))
                say(f"{found[-1]}")
        load.stop()
        while not load.done:
            time.sleep(_POLL)
        expected.add(load.expected)
    with worker(bootstrap, topic, app_id, folder / "0") as one:
        wrong: list[str] = []

        def exact() -> bool:
            wrong[:] = differences(expected, models(one.url))
            return not wrong

        wait_until(exact, [one], _LIMIT, lambda: f"wrong: {'; '.join(wrong[:5])}")
    return found


def _taken_over(
    title: str, both: list[Service], folder: Path, options: argparse.Namespace
) -> Takeover:
    """Kill the second worker once both are up to date, and wait for the first one."""
    begin = time.monotonic()
    wait_until(
        lambda: shared([get(f"{one.url}/ready") for one in both])
        and all(_is_current(one, options.rate) for one in both),
        both, _UP_SECONDS, lambda: f"{title}: not up to date", pause=1.0,
    )  # fmt: skip
    say(f"{title}: both up to date after {time.monotonic() - begin:.0f} s")
    stays, killed = both
    if title == SHARED:
        copies = folder / "shared"
        wait_until(
            lambda: len({path.parent for path in copies.glob("*/*/*/*.snapshot")}) == PARTITIONS,
            both, _UP_SECONDS, lambda: "no copy of every partition", pause=1.0,
        )  # fmt: skip
        say(f"all copies are there after {time.monotonic() - begin:.0f} s")
    _remove_old_snapshots(stays, folder / "0" / "data")
    memory = resident_bytes(stays.process.pid)
    killed.process.kill()
    begin, assigned, is_open = time.monotonic(), 0.0, 0.0
    while not _is_current(stays, options.rate, PARTITIONS):
        now, state = time.monotonic() - begin, _state(stays)
        if now > _LIMIT or stays.process.poll() is not None:
            raise BenchError(f"{title}: not up to date {now:.0f} s after the kill: {state}")
        if not assigned and len(state["partitions"].get("observations", ())) == PARTITIONS:
            assigned = now
        if assigned and not is_open and state["complete"]:
            is_open = now
            say(f"up to date after {now:.1f} s, lag {state['lag']}")
        time.sleep(_POLL)
    seconds = time.monotonic() - begin
    say(f"slowest partition: {metric(stays.url, 'processor_recovery_seconds')} s")
    say(tail(stays.log, 25))
    return Takeover(title, seconds, assigned, memory, usage(stays.process.pid).peak_bytes)


def _remove_old_snapshots(stays: Service, data: Path) -> None:
    """Remove the snapshots of partitions that another worker has now: they are from an earlier time."""
    held = _state(stays)["partitions"]["observations"]
    for path in data.glob("join-*.snapshot"):
        if int(path.stem.rpartition("-")[2]) not in held:
            path.unlink()


def _state(one: Service) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(get(f"{one.url}/ready") or b'{"partitions": {}}')
    return {"lag": None, "complete": False, **state}


def _is_current(one: Service, rate: float, partitions: int = 0) -> bool:
    """Whether a worker has all of its partitions up to date, at least so many, and lag is 0."""
    state = _state(one)
    held = [len(state["partitions"].get(log, ())) for log in ("observations", "deltas")]
    return (
        min(held) >= max(partitions, 1)
        and state["complete"]
        and state["lag"] is not None
        and state["lag"] <= rate * _ON_THE_WAY
        and metric(one.url, "processor_recovery_remaining_records") == 0
    )


async def fill(bootstrap: str, app_id: str, requests: int, number: int) -> Expected:
    """Put so many requests on the log of a fresh app; their exact counts."""
    settings = Settings.from_env(
        {"PROCESSOR_BROKER": f"kafka://{bootstrap}", "PROCESSOR_APP_ID": app_id}
    )
    kafka = Kafka(settings, settings.broker)
    log_id = await prepare(kafka, settings)
    topic, expected = Topics.of(app_id).observations, Expected()
    async with kafka.producer(linger_ms=5) as producer:
        for partition, value, counts in _records(requests, number, log_id):
            await producer.send(topic, value, partition=partition)
            expected.add(counts)
        await producer.flush()
    return expected


def _records(requests: int, number: int, log_id: str) -> Iterator[tuple[int, bytes, Expected]]:
    """Records of the log with their partitions and exact counts."""
    rng, keys, start = np.random.default_rng(1), model_keys(number), time.time_ns() - _SPAN
    for first in range(0, requests, _STEP):
        n = min(_STEP, requests - first)
        data = rng.bytes(16 * n)
        ids = np.frombuffer(data, np.dtype("V16"))
        owners = np.array([partition_of(one, PARTITIONS) for one in request_ids(data)])
        times = start + (first + np.arange(n)) * (_SPAN // requests)
        for partition in range(PARTITIONS):
            chosen = np.flatnonzero(owners == partition)
            for at in range(0, len(chosen), _ROWS):
                some = chosen[at : at + _ROWS]
                judged = some[: round(len(some) * _FEEDBACK)]
                model, label = (rng.integers(0, high, len(some)) for high in (number, 3))
                actual = rng.integers(0, 3, len(judged))
                form = np.full(len(judged), TRUTH)
                given = model[: len(judged)], times[judged] + _DELAY
                made = prediction_rows(ids[some], model, times[some], label)
                said = feedback_rows(ids[judged], *given, actual, form)
                record = packed_batch(
                    keys, made.part(0, len(some)), said.part(0, len(judged)), log_id
                )
                yield partition, encode(record), _counts(model, label, actual)


def _counts(model: Any, label: Any, actual: Any) -> Expected:
    """The counts of predictions whose first ones have feedback."""
    expected = Expected()
    for one, count in zip(*np.unique(model, return_counts=True), strict=True):
        expected.models[deployment(int(one))] = ModelCounts(int(count))
    judged = zip(model.tolist(), label.tolist(), actual.tolist(), strict=False)
    for one, said, truth in judged:
        expected.models[deployment(one)].cells[NAMES[truth], NAMES[said]] += 1
    return expected


if __name__ == "__main__":
    sys.exit(main())
