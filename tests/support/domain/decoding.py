"""The parts of a decoded event or document, for tests that look at one of them."""

from processor.domain.events.decoder import Decoded
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.values import NUMBER, Answer

Part = Prediction | Feedback | DeadLetter


def shown(answer: Answer) -> str:
    """The label of an item, ``<number>``, or ``!`` and the reason why it has neither."""
    if answer.reason is not None:
        return f"!{answer.reason}"
    return "<number>" if answer.mode == NUMBER else str(answer.label)


def parts(decoded: Decoded) -> list[Part]:
    """The observations, then the dead letters."""
    return [*decoded.observations, *(letter for _, letter in decoded.dead_letters)]


def meaning(decoded: Decoded) -> Part | None:
    """The only part of a single event; None if it means nothing."""
    assert decoded.events == 1
    found = parts(decoded)
    assert len(found) <= 1
    return found[0] if found else None
