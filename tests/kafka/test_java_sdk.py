"""Records as Knative writes them: made by the Java SDK's serializer, read back from a real topic."""

from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import Prediction
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.domain.events.test_event_matrix import decode
from tests.support.decoding import Part, meaning
from tests.support.envelope_kinds import RESPONSE, binary
from tests.support.payload_kinds import PAYLOADS
from tests.support.servers import Broker
from tests.support.servers.java_sdk import Sent, send_cloudevents


@pytest.mark.parametrize("mode", ["BINARY", "STRUCTURED"])
async def test_every_payload_from_the_java_sdk(
    kafka: Broker, topic: Callable[..., str], mode: str
) -> None:
    """Null keys on several partitions; the same predictions as by any other way."""
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
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(source, number) for number in range(3)])
        for _ in sent:
            record = await consumer.getone()
            assert record.key is None
            decoded = decoder.decode(record.headers, record.value, record.timestamp * 1_000_000)
            said = meaning(decoded)
            if isinstance(said, Prediction):
                found[said.request_id] = said
            else:
                dead_letters.append((record.value is None, said))
    finally:
        await consumer.stop()
    # Without data, binary mode has a tombstone.
    ((is_null, letter),) = dead_letters
    assert is_null is (mode == "BINARY")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_json"
    for kind, payload in PAYLOADS.items():
        expected = decode(binary(payload, RESPONSE))
        assert isinstance(expected, Prediction)
        assert found[kind] == expected._replace(request_id=kind), kind
