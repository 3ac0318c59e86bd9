"""What can't be understood is kept with its reason, and the stream goes on."""

import time
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.faults.cluster import until
from tests.support.servers import Broker
from tests.support.servers.process import free_port
from tests.support.workers import Get, Start, assert_equal, expected, models, produce

BAD: list[tuple[list[tuple[str, bytes]], bytes, str]] = [
    (
        [("ce_type", b"io.seldon.serving.feedback"), ("ce_inferenceservicename", b"m")],
        b"{}",
        "no_id",
    ),
    ([("some", b"header")], b"text", "not_cloudevent"),
    (
        [
            ("ce_type", b"io.seldon.serving.inference.response"),
            ("ce_inferenceservicename", b"m"),
            ("ce_requestid", b"r"),
            ("ce_time", b"2026-11-20T09:00:00Z"),
        ],
        b"{not json",
        "bad_json",
    ),
]


async def test_unreadable_events_become_dead_letters(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get
) -> None:
    source = topic(partitions=8)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        for headers, value, _ in BAD:
            await producer.send_and_wait(source, value, key=b"k", headers=headers, partition=3)
    finally:
        await producer.stop()
    worker = start(
        broker=f"kafka://{kafka.bootstrap}", topics=source, app_id=app_id, archive="none"
    )
    await produce(kafka.bootstrap, source)

    async def exact() -> bool:
        found = await models(get, worker)
        return bool(found) and found[0]["judged"] == 63

    await until(exact, 60, "the readable ones counted")
    (found,) = await models(get, worker)
    assert_equal(found, expected())
    _, metrics = await get(worker, "/metrics")
    for _, _, reason in BAD:
        assert f'processor_dead_letters_total{{reason="{reason}"}} 1.0' in metrics
    dead_letters = await _read(kafka.bootstrap, f"{app_id}-dead-letters", len(BAD))
    by_reason = {kept["dead-letter-reason"].decode(): (kept, v) for kept, v in dead_letters}
    assert by_reason.keys() == {reason for _, _, reason in BAD}
    for original, value, reason in BAD:
        found_headers, kept = by_reason[reason]
        assert kept == value
        assert all(found_headers[name] == content for name, content in original)
        assert found_headers["dead-letter-topic"].decode() == source
        assert found_headers["dead-letter-partition"] == b"3"
        assert found_headers["dead-letter-detail"]


async def _read(bootstrap: str, topic: str, count: int) -> list[tuple[dict[str, bytes], bytes]]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    found: list[tuple[dict[str, bytes], bytes]] = []
    try:
        while len(found) < count:
            message = await consumer.getone()
            assert message.key == b"k"
            found.append((dict(message.headers), message.value))
    finally:
        await consumer.stop()
    return found


@pytest.mark.integration
async def test_a_broker_that_is_away_is_waited_for(app_id: str, start: Start, get: Get) -> None:
    port = free_port()
    worker = start(broker=f"kafka://127.0.0.1:{port}", app_id=app_id, archive="none", topics="t")

    async def says_why() -> bool:
        status, body = await get(worker, "/ready")
        return status == 503 and f"127.0.0.1:{port}" in body

    await until(says_why, 60, "ready says why")
    assert (await get(worker, "/health"))[0] == 200
    said = time.monotonic()
    # It is tried again meanwhile, and told once.
    await until(lambda: time.monotonic() - said > 3, 60, "more tries")
    (line,) = worker.text.splitlines()
    assert f"WARNING processor.service.problems: Kafka at 127.0.0.1:{port}" in line
    assert "PROCESSOR_BROKER" in line
    assert "Traceback" not in worker.text
    assert await worker.terminate() == 0
