"""A correction: which of its observations count only if their request is still in memory."""

import asyncio
import json
import time
from typing import Any

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document
from processor.domain.log.observations import IngestMode, ObservationBatch
from processor.domain.log.records import decode_observation
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND, format_time
from processor.replay.selection import Selection
from processor.service.correction import _LogSink
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

HOUR = 3600
HORIZON = 24 * HOUR


class Producer:
    """A producer that keeps the batches that are sent."""

    def __init__(self) -> None:
        self.batches: list[ObservationBatch] = []

    async def send(self, topic: str, value: bytes, **options: Any) -> "asyncio.Future[object]":
        assert topic == "observations"
        batch = decode_observation(value)
        assert isinstance(batch, ObservationBatch)
        self.batches.append(batch)
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def ids(self, if_present: bool) -> list[str]:
        chosen = [
            batch for batch in self.batches if (batch.mode == IngestMode.IF_PRESENT) == if_present
        ]
        ids = [row.request_id for batch in chosen for row in batch.prediction_rows()]
        return sorted(ids + [row.request_id for batch in chosen for row in batch.feedback_rows()])


def sink_of(producer: Producer, log_created: int, selection: Selection) -> _LogSink:
    decoder = Decoder(ModelRules(), Telemetry())
    observation_producers = [
        ObservationProducer(decoder, producer, "observations", "letters", 8, "e") for _ in range(2)
    ]
    return _LogSink(decoder, ModelRules(), selection, observation_producers, log_created, HORIZON)


def line(
    request_id: str, age: int, kind: str = "inference.response", deployment: str = "a"
) -> bytes:
    headers = {
        "ce-type": f"io.seldon.serving.{kind}",
        "ce-namespace": "ns",
        "ce-inferenceservicename": deployment,
        "ce-requestid": request_id,
        "ce-time": format_time(time.time_ns() - age * SECOND),
    }
    body = {"reward": 1, "data": {"ndarray": ["x"]}}
    return json.dumps({"headers": headers, "data": body}).encode() + b"\n"


@pytest.mark.parametrize("log_age", [HOUR, 10 * HORIZON])
async def test_requests_that_have_left_memory_were_counted_before(log_age: int) -> None:
    producer = Producer()
    sink = sink_of(producer, time.time_ns() - log_age * SECOND, Selection(deployment="a"))
    lines = [
        line("new", 0), line("old", 2 * HORIZON), line("old-f", 2 * HORIZON, "feedback"),
        line("leaving", HORIZON - HOUR), line("other", 0, deployment="b"), b"bad\n",
    ]  # fmt: skip
    bad = sink.add_lines(b"".join(lines), 1)
    assert [each.number for each in bad] == [6]
    await sink.wait_for_room()
    assert producer.batches == []
    await sink.finish()
    old = ["leaving", "old", "old-f"]
    # While the log is younger than the horizon, all its requests are in memory.
    is_young = log_age < HORIZON
    assert producer.ids(if_present=True) == ([] if is_young else old)
    assert producer.ids(if_present=False) == (sorted([*old, "new"]) if is_young else ["new"])
    result = sink.result()
    assert (result.read, result.put, result.old) == (6, 4, 0 if is_young else 3)
    assert result.not_understood == {"bad_json": 1}


async def test_a_document_goes_by_its_oldest_time() -> None:
    """A feedback of today whose prediction has left memory goes with its prediction."""
    producer = Producer()
    sink = sink_of(producer, 0, Selection())
    source = {
        "RequestId": "r", "Ce-Namespace": "ns", "Ce-Inferenceservicename": "a",
        "response": {
            "ce-time": format_time(time.time_ns() - 2 * HORIZON * SECOND),
            "payload": {"data": {"ndarray": ["x"]}},
        },
        "feedback": {"ce-time": format_time(time.time_ns()), "reward": 1},
    }  # fmt: skip
    sink.add_documents([Document("index", "r", 1, json.dumps(source).encode())])
    await sink.finish()
    assert producer.ids(if_present=True) == ["r", "r"]
    assert sink.result().old == 2
