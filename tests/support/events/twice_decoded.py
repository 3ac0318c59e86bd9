"""One event decoded twice by the same decoder, which must say the same."""

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.support.domain.decoding import Part, parts


def decode(event: RawEvent) -> Part:
    """What the event means; a batched one holds a request too, which means nothing."""
    decoder = Decoder(ModelRules(), Telemetry())
    decoded = decoder.decode(*event)
    # The positions of the headers are known now, which changes nothing.
    assert decoder.decode(*event) == decoded
    (part,) = parts(decoded)
    return part
