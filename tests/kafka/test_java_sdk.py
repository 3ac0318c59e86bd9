"""Records as Knative writes them: the Java SDK serializes them, and a real topic carries them."""

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import Prediction
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.support.domain.decoding import Part, meaning
from tests.support.domain.envelope_kinds import RESPONSE, binary
from tests.support.domain.payload_kinds import PAYLOADS
from tests.support.events.twice_decoded import decode
from tests.support.servers import Broker
from tests.support.servers.java_sdk import Sent, send_cloudevents


@pytest.mark.parametrize("mode", ["BINARY", "STRUCTURED"])
async def test_every_payload_from_the_java_sdk(
    kafka: Broker, topic: Callable[..., str], mode: str
) -> None:
    """The records have null keys on several partitions, and give the same predictions as other forms."""
    source = topic(partitions=3)
    sent = [
        Sent(kind, RESPONSE, payload.content_type, payload.protocol, payload.body)
        for kind, payload in PAYLOADS.items()
    ]
    sent.append(Sent("no data", RESPONSE, "application/json", "seldon", b""))
    send_cloudevents(kafka.bootstrap, source, mode, sent)
    decoder = Decoder(ModelRules(), Telemetry())
    found: dict[str, Part] = {}
    dead_letters = []
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([TopicPartition(source, number) for number in range(3)])
        for _ in sent:
            record = await consumer.getone()
            assert record.key is None
            decoded = decoder.decode(record.headers, record.value, record.timestamp * 1_000_000)
            part = meaning(decoded)
            if isinstance(part, Prediction):
                found[part.request_id] = part
            else:
                dead_letters.append((record.value is None, part))
    # An event without data is a tombstone in binary mode.
    ((is_null, dead_letter),) = dead_letters
    assert is_null is (mode == "BINARY")
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == "bad_json"
    for kind, payload in PAYLOADS.items():
        expected = decode(binary(payload, RESPONSE))
        assert isinstance(expected, Prediction)
        assert found[kind] == expected._replace(request_id=kind), kind
