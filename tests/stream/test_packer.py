"""Packing events: what can't be understood is kept in sight."""

from typing import Any, cast

from processor.domain.decode import Decoder
from processor.domain.events import RawEvent
from processor.domain.models import ModelRules
from processor.domain.telemetry import KeptLetter, Telemetry
from processor.stream.packer import Packer


def test_the_newest_dead_letters_can_be_shown() -> None:
    telemetry = Telemetry()
    decoder = Decoder(ModelRules(), telemetry)
    packer = Packer(decoder, cast(Any, None), "observations", "dead-letters", 8, "epoch")
    for offset in range(100):
        packer.add(RawEvent([], b"?", 7), ("source", 3, offset))
    assert telemetry.dead_letters["not_cloudevent"] == 100
    shown = list(telemetry.recent_letters)
    assert [letter.offset for letter in shown] == list(range(80, 100))
    assert shown[0] == KeptLetter(
        7,
        "not_cloudevent",
        "no ce_type header, and not structured mode",
        "source",
        3,
        80,
    )
