"""Lines of events files: every byte of a body is kept, and trouble is named with its line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.events_file import format_line, parse_line
from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError

EVENTS = Path(__file__).parents[2] / "data" / "seed-experiment" / "events.ndjson"


def test_the_experiment_comes_back_byte_by_byte() -> None:
    lines = EVENTS.read_bytes().splitlines()
    assert len(lines) == 263
    for number, line in enumerate(lines, 1):
        event = parse_line(line, number, 7)
        assert dict(event.headers)["ce_requestid"].decode() in line.decode()
        assert event.value is not None
        assert json.loads(event.value) == json.loads(line)["data"]
        assert event.timestamp == 7
        assert format_line(event) == line


def value(content_type: str | None, data: str) -> bytes | None:
    headers = "" if content_type is None else f'"Content-Type": "{content_type}"'
    event = parse_line(b'{"headers": {%s}%s}' % (headers.encode(), data.encode()), 1, 0)
    assert event.headers == (
        () if content_type is None else (("content-type", content_type.encode()),)
    )
    return event.value


@pytest.mark.parametrize(
    ("content_type", "data", "expected"),
    [
        ("application/json", ', "data": {"x": 1.50, "x": 2}', b'{"x": 1.50, "x": 2}'),
        (
            "application/json",
            ', "data": {"x": [NaN, -Infinity, 1.50]}',
            b'{"x": [NaN, -Infinity, 1.50]}',
        ),
        ("application/json", ', "data": 12345678901234567890.10', b"12345678901234567890.10"),
        ("application/json", ', "data": "{not json"', b"{not json"),
        ("application/json", ', "data": null', None),
        (None, ', "data": "text"', b"text"),
        ("application/cloudevents+json; charset=UTF-8", ', "data": {"id": "1"}', b'{"id": "1"}'),
        ("text/plain", ', "data": "a\\u00e9\\n"', "aé\n".encode()),
        ("text/plain", ', "data": {"x": 1}', b'{"x": 1}'),
        ("application/protobuf", ', "data_base64": "AP8="', b"\x00\xff"),
        ("application/json", ', "other": {"skipped": [1]}', None),
    ],
)
def test_bodies(content_type: str | None, data: str, expected: bytes | None) -> None:
    assert value(content_type, data) == expected


def test_headers_take_the_form_of_kafka() -> None:
    line = b'{"headers": {"Ce-Type": "t", "seldon-puid": "p", "ce_id": "1", "type": "\xc3\xa9"}}'
    assert parse_line(line, 1, 0) == RawEvent(
        (("ce_type", b"t"), ("seldon-puid", b"p"), ("ce_id", b"1"), ("type", "é".encode())),
        None,
        0,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "line 5 is no event"),
        (b"text", "line 5 is no event"),
        (b"[]", r"line 5 is no event: .*object"),
        (b'{"data": {}}', 'there is no "headers"'),
        (b'{"headers": ["ce-id"]}', '"headers" must be an object of strings'),
        (b'{"headers": {"ce-id": 1}}', '"headers" must be an object of strings'),
        (b'{"headers": {"ce id": "1"}}', "'ce id' is no header name"),
        (b'{"headers": {"": "1"}}', "'' is no header name"),
        (b'{"headers": {}, "data": {"x": 1}', "line 5 is no event"),
        (b'{"headers": {}, "data": {"x": NaN}', "line 5 is no event"),
        (b'{"headers": {}} {"headers": {}}', "line 5 is no event"),
        (b'{"headers": {}, "data": "\xff"}', "line 5 is not UTF-8"),
        (b"\x1f\x8b\x08\x00", "line 5 is not UTF-8"),
        (b'{"headers": {}, "data_base64": "A"}', '"data_base64" is not base64'),
        (b'{"headers": {}, "data_base64": 1}', '"data_base64" is not base64'),
        (b'{"headers": {}, "data": 1, "data_base64": "AA=="}', "keep one"),
        (b'{"headers": {}, "data": ' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_trouble_is_named_with_its_line(line: bytes, message: str) -> None:
    with pytest.raises(EventsFileError, match=message):
        parse_line(line, 5, 0)


names = st.sampled_from(["ce_id", "ce_type", "ce_source", "seldon-puid", "type"])
types = st.sampled_from(["application/json", "text/plain", "application/protobuf"])


@given(
    st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]))),
    types,
    st.none() | st.binary() | st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_event_survives(
    headers: dict[str, str], content_type: str, body: bytes | str | None
) -> None:
    data = body.encode() if isinstance(body, str) else body
    event = RawEvent(
        (
            *((name, text.encode()) for name, text in headers.items()),
            ("content-type", content_type.encode()),
        ),
        data,
        3,
    )
    line = format_line(event)
    assert b"\n" not in line
    back = parse_line(line, 1, 3)
    if content_type == "application/json" and back.value != data:
        assert data is not None  # only the space around a JSON value can differ
        assert back.value is not None
        assert json.loads(back.value) == json.loads(data)
    else:
        assert back == event


def test_json_over_several_lines_comes_back_on_one() -> None:
    event = RawEvent((), b'{"x":\r\n  "a\\nb"}', 0)
    assert parse_line(format_line(event), 1, 0).value == b'{"x":    "a\\nb"}'


def test_a_header_that_is_no_text_cannot_be_written() -> None:
    with pytest.raises(EventsFileError, match="not UTF-8"):
        format_line(RawEvent((("ce_id", b"\xff"),), None, 0))
