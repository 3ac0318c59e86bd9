"""A dead letter gives its event back; what is shown of it is harmless."""

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.dead_letters import (
    dead_letter_headers,
    printable,
    read_dead_letter,
    type_and_id,
)
from processor.domain.events.raw_event import REASONS, DeadLetter, RawEvent

NAMES = st.text(max_size=20).filter(lambda name: not name.startswith("dead-letter-"))
EVENTS = st.builds(
    RawEvent,
    st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=5).map(tuple),
    st.none() | st.binary(max_size=50),
    st.integers(0, 2**62),
)


@given(EVENTS, st.sampled_from(REASONS), st.text(max_size=50), st.integers(0, 9))
def test_a_letter_gives_its_event_back(
    event: RawEvent, reason: str, detail: str, number: int
) -> None:
    origin = ("topic", number, 7)
    headers = dead_letter_headers(event, DeadLetter(reason, detail), origin)
    found = read_dead_letter("3/4", headers, b"k", event.value, 99)
    assert found is not None
    assert found.event == event
    assert found.origin == origin
    assert found.letter.reason == reason
    assert (found.id, found.kept, found.key) == ("3/4", 99, b"k")


def test_other_records_are_no_letters() -> None:
    assert read_dead_letter("0/0", [("dead-letter-retried", b"3")], b"", None, 0) is None


def test_without_a_time_it_is_that_of_keeping() -> None:
    found = read_dead_letter("0/0", [("dead-letter-reason", b"no_id")], b"", None, 5)
    assert found is not None
    assert found.event.timestamp == 5


@given(EVENTS)
def test_all_that_is_shown_is_printable(event: RawEvent) -> None:
    assert all(text.isprintable() for text in type_and_id(event))
    shown = printable(event.value or b"", 30)
    assert shown.isprintable()
    lines = printable(event.value or b"", 30, lines=True)
    assert all(line.isprintable() for line in lines.split("\n"))


def test_type_and_id_of_structured_mode() -> None:
    body = b'{"id": "1", "type": "t", "requestid": "r", "data": NaN}'
    assert type_and_id(RawEvent((), body, 0)) == ("t", "r")
    assert type_and_id(RawEvent((), body[:-1], 0)) == ("", "")
