"""Records on the log: batches of events, their size, and dead letters of any size."""

import asyncio
import json
from typing import Any

from aiokafka.structs import ConsumerRecord, RecordMetadata, TopicPartition

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, ObservationBatch, Prediction
from processor.domain.log.records import decode_observation
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.values import TEXT, Answer, Schema
from processor.kafka.clients import MAX_RECORD
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import RecentDeadLetter, Telemetry

MODEL = ModelKey("n", "d", "p", "m")
BATCH = [("content-type", b"application/cloudevents-batch+json")]
ANSWER = {
    "type": "io.seldon.serving.inference.response",
    "time": "2026-11-20T09:00:00Z",
    "inferenceservicename": "iris",
    "data": {"strData": "cat"},
}
BROKEN = {"type": ANSWER["type"], "id": "broken"}


class Producer:
    """Keeps the records that are sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, dict[str, Any]]] = []

    async def send(self, topic: str, value: bytes, **more: Any) -> "asyncio.Future[object]":
        self.sent.append((topic, value, more))
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        record = RecordMetadata(topic, 2, TopicPartition(topic, 2), len(self.sent), 0, 0, 0)
        future.set_result(record)
        return future


def observation_producer(producer: Any) -> ObservationProducer:
    decoder = Decoder(ModelRules(), Telemetry())
    return ObservationProducer(decoder, producer, "observations", "dead-letters", 1, "epoch")


def value(*events: object) -> bytes:
    return json.dumps(events).encode()


async def test_pairs_of_any_size_fit_in_records() -> None:
    """A document's names can be as long as a document, with or without feedback beside it."""
    producer = Producer()
    observations = observation_producer(producer)
    for number in range(10):
        schema = Schema(names=("\U0001f600" * 1_000_000, str(number)))
        answers = (Answer(str(number), None, TEXT, schema),)
        predicted = Prediction(MODEL, f"r{number}", number, 0, 1, answers)
        judged = Feedback(MODEL, f"r{number}", number, 0, 1, None, 1) if number % 2 else None
        observations.add_pair(predicted, judged)
    await observations.send()
    sizes = [len(value) for _, value, _ in producer.sent]
    assert sum(sizes) > 40_000_000
    assert max(sizes) < MAX_RECORD
    for _, content, _ in producer.sent:
        batch = decode_observation(content)
        assert isinstance(batch, ObservationBatch)
        odd = {row.request_id for row in batch.prediction_rows() if int(row.request_id[1:]) % 2}
        assert {row.request_id for row in batch.feedback_rows()} == odd


async def test_each_event_of_a_batch_on_kafka_is_decoded() -> None:
    """A broken event becomes a dead letter, with the record's key and source."""
    producer = Producer()
    observations = observation_producer(producer)
    good = [{**ANSWER, "id": str(number)} for number in range(3)]
    record: ConsumerRecord = ConsumerRecord(
        "source", 3, 17, 0, 0, b"key", value(*good[:2], BROKEN, good[2]), None, 3, 0, BATCH
    )
    observations.add_records("source", 3, [record])
    await observations.send()
    (_, packed, _), (topic, body, more) = producer.sent
    batch = decode_observation(packed)
    assert isinstance(batch, ObservationBatch)
    assert [row.request_id for row in batch.prediction_rows()] == ["0", "1", "2"]
    assert (topic, json.loads(body), more["key"]) == ("dead-letters", BROKEN, b"key")
    headers = dict(more["headers"])
    assert headers["content-type"] == b"application/cloudevents+json"
    assert headers["dead-letter-reason"] == b"bad_header"
    assert headers["dead-letter-offset"] == b"17"


def test_the_first_dead_letter_of_a_batch_is_returned() -> None:
    observations = observation_producer(None)
    source = ("http", 0, 0)
    event = RawEvent(BATCH, value({**ANSWER, "id": "1"}, BROKEN, 5), 0)
    dead_letter = observations.add(event, source).dead_letter
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == "bad_header"
    good = RawEvent(BATCH, value({**ANSWER, "id": "1"}), 0)
    assert observations.add(good, source).dead_letter is None
    assert observations.add(RawEvent(BATCH, b"[]", 0), source).dead_letter is None


async def test_a_dead_letter_that_is_too_large_is_kept_without_its_body() -> None:
    producer = Producer()
    observations = observation_producer(producer)
    for size in (100, MAX_RECORD):
        observations.add(RawEvent((("a", b"b"),), bytes(size), 5), ("topic", 3, 7))
    await observations.send()
    (_, small, _), (_, large, more) = producer.sent
    headers = dict(more["headers"])
    assert small == bytes(100)
    assert large is None
    assert headers["dead-letter-reason"] == b"not_cloudevent"
    assert headers["dead-letter-detail"].endswith(b"too large to be kept: see topic/3@7")
    assert headers["a"] == b"b"


def test_the_detail_of_a_dead_letter_is_text() -> None:
    observations = observation_producer(None)
    for time, shown in ((b"yesterday", "yesterday"), (b"caf\xc3\xa9\xff\x1b", r"café\xff\x1b")):
        event = {**ANSWER, "requestid": "r"}
        del event["data"], event["time"]
        headers = [(f"ce_{name}", str(text).encode()) for name, text in event.items()]
        decoded = observations.add(
            RawEvent([*headers, ("ce_time", time)], b"{}", 7), ("source", 3, 0)
        )
        assert decoded.dead_letter == DeadLetter("bad_time", f"ce_time '{shown}' is not RFC 3339")


async def test_a_dead_letter_is_shown_with_the_id_of_its_record() -> None:
    observations = observation_producer(Producer())
    observations.add(RawEvent([], b"?", 7), ("source", 3, 40))
    shown = observations.decoder.telemetry.recent_dead_letters[0]
    assert shown.id is None
    await asyncio.gather(*await observations.send())
    await asyncio.sleep(0)
    assert shown.id == "2/1"


def test_the_newest_dead_letters_can_be_shown() -> None:
    observations = observation_producer(None)
    telemetry = observations.decoder.telemetry
    for offset in range(100):
        observations.add(RawEvent([], b"?", 7), ("source", 3, offset))
    assert telemetry.dead_letters["not_cloudevent"] == 100
    shown = list(telemetry.recent_dead_letters)
    assert [dead_letter.offset for dead_letter in shown] == list(range(80, 100))
    detail = (
        "it has no header ce_type, is not a structured CloudEvent, and not a record of the "
        "executor's own log"
    )
    assert shown[0] == RecentDeadLetter(7, "not_cloudevent", detail, "source", 3, 80)


async def test_no_record_is_larger_than_the_topic_takes() -> None:
    """The limit of names counts bytes: these have many characters of four bytes each."""
    producer = Producer()
    observations = observation_producer(producer)
    for number in range(6):
        names = ["\U0001f600" * 500_000, "\U0001f601" * (500_000 + number)]
        data = {"data": {"names": names, "ndarray": [[0.1, 0.9]]}}
        headers = [
            ("ce_type", b"io.seldon.serving.inference.response"),
            ("ce_requestid", b"r%d" % number),
            ("ce_inferenceservicename", b"m"),
        ]
        body = json.dumps(data, ensure_ascii=False).encode()
        decoded = observations.add(RawEvent(headers, body, 0), ("source", 0, number))
        assert decoded.dead_letter is None
    await observations.send()
    sizes = [len(value) for topic, value, _ in producer.sent if topic == "observations"]
    assert sum(sizes) > MAX_RECORD > max(sizes)
