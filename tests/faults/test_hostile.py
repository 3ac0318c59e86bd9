"""Hostile records and requests: no crash, no growth, and every one accounted for."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from processor.domain.events.raw_event import RawEvent
from processor.domain.log.deltas import partition_of
from processor.domain.log.records import RecordChunk, decode_delta
from processor.domain.model_rules import ModelRules
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from tests.support.faults.cluster import Worker, WorkerCluster, until
from tests.support.faults.log import read_topic
from tests.support.faults.malformed_input import events, largest, requests
from tests.support.faults.size import FULL, Size

#: Bytes that a worker may hold more at the end than after a half: by then it has all its buffers.
_GROWTH = 32 << 20
#: Percent of the load after which its memory is looked at.
_MARKS = (10, 50, 100)
_CONNECTIONS = 20
_KINDS = ("request", "response", "feedback", "unreadable", "other", "failed", "explanation")


def number_of(size: Size) -> int:
    return 100_000 if size is FULL else 5_000


async def test_hostile_records(worker_cluster: WorkerCluster, size: Size) -> None:
    """Every record is read as one of the kinds, and what can't be understood is kept."""
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    number = number_of(size)
    marks = {number * percent // 100 for percent in _MARKS}
    memory: list[int] = []
    async with AIOKafkaProducer(
        bootstrap_servers=worker_cluster.bootstrap, linger_ms=20
    ) as producer:
        for count, (headers, value) in enumerate(events(number, seed=1), start=1):
            # The client refuses a record with neither key nor value.
            await producer.send(worker_cluster.topic, value, key=b"k", headers=headers)
            if count in marks:
                await producer.flush()
                await until(lambda n=count: _read(worker_cluster, worker, n), 300, f"{count} read")
                memory.append(worker.memory)
    assert await worker_cluster.total(worker, "processor_events_total") == number
    dead_letters = await worker_cluster.total(worker, "processor_dead_letters_total")
    assert 0 < dead_letters < number
    kept = await read_topic(worker_cluster.bootstrap, f"{worker_cluster.app_id}-dead-letters")
    assert len(kept) == dead_letters
    _assert_no_growth(memory)
    await _assert_well(worker_cluster, worker)
    worker_cluster.outcome.events, worker_cluster.outcome.difference = number, 0


async def test_hostile_requests(worker_cluster: WorkerCluster, size: Size) -> None:
    """Every request gets an answer or a closed connection; what was taken in is what is counted."""
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    number = number_of(size)
    place = urlsplit(await worker.ingress())
    host, port = place.hostname or "", place.port or 0
    todo = requests(number, seed=2)
    marks = {number * percent // 100 for percent in _MARKS}
    memory: list[int] = []
    answers: Counter[int] = Counter()
    taken = 0

    async def send() -> None:
        nonlocal taken
        for request in todo:
            status, events = await _answer(host, port, request)
            answers[status] += 1
            taken += events
            if answers.total() in marks:
                memory.append(worker.memory)

    await asyncio.gather(*(send() for _ in range(_CONNECTIONS)))
    assert answers.total() == number
    # 0: closed without an answer, as for what is no HTTP at all.
    assert answers.keys() <= {0, 202, 400, 404, 405, 413, 415, 431}, answers
    assert answers[202] > 0
    assert answers[400] > 0
    read = await worker_cluster.total(worker, "processor_events_total")
    dead_letters = await worker_cluster.total(worker, "processor_dead_letters_total")
    kept = await read_topic(worker_cluster.bootstrap, f"{worker_cluster.app_id}-dead-letters")
    # What was refused at the door was never read; a batch holds several events or none.
    assert read == taken
    assert 0 < len(kept) == dead_letters < read
    _assert_no_growth(memory)
    await _assert_well(worker_cluster, worker)
    print(answers)
    worker_cluster.outcome.events, worker_cluster.outcome.difference = number, 0


@pytest.mark.usefixtures("full")
async def test_the_largest_messages(worker_cluster: WorkerCluster) -> None:
    """What follows from a few of them is larger than any record of the log: it is counted all the
    same, by a start from the checkpoint and one from the log's beginning too."""
    # All on one partition of the deltas, where they come to one batch.
    names = [
        name
        for name in (f"p{number}" for number in range(1000))
        if partition_of("\0".join(("seldon", "largest", name, "model")), 8) == 0
    ][:5]
    messages = list(largest([name.encode() for name in names], seed=3))
    fold = ReplayFold(ModelRules(), Selection())
    fold.add([RawEvent(headers, value, 0) for headers, value in messages])
    wanted = {_key(msgspec.to_builtins(model)): model.judged for model in fold.result().models}
    assert sum(wanted.values()) == 5 * 20_000
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    url = await worker.ingress()
    # Several at once: they go together.
    async with aiohttp.ClientSession() as session:
        for group in (messages[:5], messages[5:8], messages[8:]):
            await asyncio.gather(*(_post(session, url, *message) for message in group))

    async def exact() -> bool:
        worker_cluster.check_alive()
        return {_key(model): model["judged"] for model in await worker_cluster.models()} == wanted

    await until(exact, 60, "all counted")
    deltas = await read_topic(worker_cluster.bootstrap, f"{worker_cluster.app_id}-deltas")
    assert sum(isinstance(decode_delta(record.value), RecordChunk) for record in deltas) >= 4
    changelog = f"{worker_cluster.app_id}-confusion-changelog"
    await until(
        lambda: _has_parts(worker_cluster.bootstrap, changelog), 60, "a checkpoint in parts"
    )
    await worker_cluster.terminate(worker)
    for data in ("data", "fresh"):
        worker = worker_cluster.start(data)
        await until(exact, 60, "all counted again")
        assert await worker_cluster.held_deltas() == 0
        await worker_cluster.terminate(worker)
    worker_cluster.outcome.events, worker_cluster.outcome.difference = len(messages), 0


def _key(model: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(model[name] for name in ("deployment", "predictor", "predictions", "correct"))


async def _post(
    session: aiohttp.ClientSession, url: str, headers: list[tuple[str, bytes]], value: bytes
) -> None:
    named = {name.replace("_", "-"): content.decode() for name, content in headers}
    async with session.post(url, data=value, headers=named) as answer:
        assert answer.status == 202, await answer.text()


async def _has_parts(bootstrap: str, changelog: str) -> bool:
    """Whether values of several parts have been written: their keys begin below 0."""
    keys = [msgspec.msgpack.decode(record.key) for record in await read_topic(bootstrap, changelog)]
    return any(key[0] < 0 for key in keys)


async def _read(worker_cluster: WorkerCluster, worker: Worker, number: int) -> bool:
    assert worker.alive, worker.text[-3000:]
    return await worker_cluster.total(worker, "processor_events_total") >= number


def _assert_no_growth(memory: list[int]) -> None:
    print(
        "memory:", ", ".join(f"{n >> 20} MiB at {p} %" for n, p in zip(memory, _MARKS, strict=True))
    )
    assert memory[-1] - memory[1] < _GROWTH


async def _assert_well(worker_cluster: WorkerCluster, worker: Worker) -> None:
    """It lives, its pages come, and no traceback was written."""
    assert (await worker_cluster.get(worker, "/health"))["alive"]
    assert await worker_cluster.get(worker, "/api/models") is not None
    assert "Traceback" not in worker.text
    assert await worker_cluster.metric(worker, "processor_stalled_seconds") == 0


async def _answer(host: str, port: int, request: bytes) -> tuple[int, int]:
    """The answer's status, 0 for a connection that is closed without one; and how many events it says
    were taken in, understood or kept as dead letters."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(60):
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length:")[2].split()[0])
            body = await reader.readexactly(length)
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, 0
    finally:
        writer.close()
    said = json.loads(body) if "application/json" in head else {}
    return int(head.split()[1]), said.get("accepted", 0) + said.get("rejected", 0)
