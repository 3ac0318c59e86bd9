"""Events to observations: envelopes, bodies and everything that can be wrong with them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from processor.domain.events.decoder import FUTURE, Decoder
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import Prediction
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.support.domain.decoding import Part, meaning
from tests.support.events.one_event import COMMON, NOW, ROW, headers, reason, see

# Envelopes


def test_a_response() -> None:
    """Rules 1, 2 and 13."""
    seen = see()
    assert isinstance(seen, Prediction)
    assert seen.model == ModelKey("seldon", "iris", "default", "classifier")
    assert (seen.request_id, seen.time, seen.source_rank, seen.provisional) == (
        "r-1",
        NOW,
        1,
        False,
    )
    assert [answer.label for answer in seen.answers] == ["b"]


@pytest.mark.parametrize("vendor", ["io.seldon", "org.kubeflow"])
@pytest.mark.parametrize("name", ["ce_{}", "Ce_{}", "CE_{}"])
def test_types_and_spelling(vendor: str, name: str) -> None:
    named = [
        (name.format(key[3:].title()) if key.startswith("ce_") else key, text.encode())
        for key, text in {**COMMON, "ce_type": f"{vendor}.serving.inference.response"}.items()
    ]
    value = json.dumps(ROW).encode()
    seen = meaning(Decoder(ModelRules(), Telemetry()).decode(named, value, -1))
    assert seen == see() if name != "ce_{}" else seen is not None


@pytest.mark.parametrize(
    ("change", "request_id"),
    [
        ({"requestid": "x", "seldon-puid": "y"}, "r-1"),  # 2
        ({"ce_requestid": None, "requestid": "x", "seldon-puid": "y"}, "x"),
        ({"ce_requestid": None, "seldon-puid": "y"}, "y"),
        ({"ce_requestid": "", "seldon-puid": "y"}, "y"),
        ({"ce_requestid": None}, "event-1"),
        ({"ce_requestid": "é" * 256}, "é" * 256),
    ],
)
def test_the_id_of_a_request(change: dict[str, Any], request_id: str) -> None:
    """Rule 2."""
    seen = see(**change)
    assert isinstance(seen, Prediction)
    assert seen.request_id == request_id


def test_a_model_without_a_name_is_that_of_its_component() -> None:
    """Wherever the headers were the last time."""
    decoder, value = Decoder(ModelRules(), Telemetry()), json.dumps(ROW).encode()
    for name in ("classifier", ""):
        seen = meaning(
            decoder.decode(headers({}, ce_modelid=name, ce_component="other"), value, -1)
        )
        assert isinstance(seen, Prediction)
        assert seen.model.model == (name or "other")


def test_a_header_that_is_there_twice_counts_as_it_always_does() -> None:
    """Whatever was read before: the last one counts."""
    twice = [*headers({"ce_id": None}), ("ce_modelid", b"last")]
    decoder, value = Decoder(ModelRules(), Telemetry()), json.dumps(ROW).encode()
    models = []
    for event in (twice, [*headers({"ce_id": None}), ("ce_id", b"1")], twice):
        seen = meaning(decoder.decode(event, value, -1))
        assert isinstance(seen, Prediction)
        models.append(seen.model.model)
    assert models == ["last", "classifier", "last"]


def test_a_request_event_is_read_and_nothing_else() -> None:
    """Rule 2: whatever else is in it."""
    decoder = Decoder(ModelRules(), Telemetry())
    kind = b"io.seldon.serving.inference.request"
    assert meaning(decoder.decode([("ce_type", kind)], b"{", -1)) is None
    assert decoder.telemetry.events == {"request": 1}
    assert not decoder.telemetry.dead_letters


def structured(**event: Any) -> Part | None:
    attributes = {name[3:]: text for name, text in COMMON.items() if name.startswith("ce_")}
    body = {**attributes, "specversion": "1.0", **event}
    return meaning(
        Decoder(ModelRules(), Telemetry()).decode(
            [("Content-Type", b"application/cloudevents+json; charset=utf-8")],
            json.dumps({key: value for key, value in body.items() if value is not ...}).encode(),
            -1,
        )
    )


def test_structured_events() -> None:
    assert structured(data=ROW) == see()
    assert structured(data_base64=base64.b64encode(json.dumps(ROW).encode()).decode()) == see()
    assert structured(data=ROW, data_base64=None) == see()
    nan = {"data": {"ndarray": [[0.1, float("nan")]]}}
    assert structured(data=nan) == see(nan)
    assert structured(data=ROW, requestid=...) == see(ce_requestid=None)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": ...}, "not_cloudevent"),
        ({"type": None}, "not_cloudevent"),
        ({"data_base64": "é"}, "bad_json"),
        ({"data_base64": "A"}, "bad_json"),
        ({"data_base64": 1}, "bad_json"),
        ({"inferenceservicename": None}, "bad_header"),
        ({"time": 5}, "bad_time"),
        ({"data": [1]}, "bad_shape"),
        ({"data": "text"}, "bad_shape"),
        ({}, "bad_json"),
    ],
)
def test_structured_events_that_cannot_be_read(event: dict[str, Any], expected: str) -> None:
    letter = structured(**event)
    assert isinstance(letter, DeadLetter), letter
    assert letter.reason == expected


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"a": NaN'])
def test_structured_events_that_are_no_json(body: bytes) -> None:
    kind = [("content-type", b"application/cloudevents+json")]
    letter = meaning(Decoder(ModelRules(), Telemetry()).decode(kind, body, -1))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_json"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ce_type": None}, "not_cloudevent"),
        ({"ce_type": ""}, "not_cloudevent"),
        ({"ce_requestid": None, "ce_id": None}, "no_id"),
        ({"ce_requestid": None, "ce_id": ""}, "no_id"),
        ({"ce_requestid": "x" * 513}, "bad_header"),
        ({"ce_requestid": b"\xff"}, "bad_header"),
        ({"ce_inferenceservicename": None}, "bad_header"),
        ({"ce_inferenceservicename": ""}, "bad_header"),
        ({"ce_namespace": b"\xff"}, "bad_header"),
        ({"ce_modelid": "a\nb"}, "bad_header"),
        ({"ce_endpoint": "x" * 254}, "bad_header"),
        ({"ce_time": None}, "bad_time"),
        ({"ce_time": ""}, "bad_time"),
        ({"ce_time": b"\xff"}, "bad_time"),
        ({"ce_time": "2026-11-20T09:00:00"}, "bad_time"),
        ({"ce_time": "2026-02-30T09:00:00Z"}, "bad_time"),
        ({"ce_time": "1969-12-31T23:59:59Z"}, "bad_time"),
        ({"ce_time": "9999-01-01T00:00:00Z"}, "bad_time"),
    ],
)
def test_headers_that_cannot_be_read(change: dict[str, Any], expected: str) -> None:
    assert reason(**change) == expected


# Times


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-11-20T09:00:00.330716836Z", 330_716_836),
        ("2026-11-20T09:00:00.3307168369Z", 330_716_836),
        ("2026-11-20T09:00:00.3Z", 300_000_000),
        ("2026-11-20T10:00:00+01:00", 0),
        ("2026-11-20T03:30:00-05:30", 0),
        ("2026-11-20t09:00:00z", 0),
        ("2026-11-20T09:00:59Z", 59 * 10**9),
    ],
)
def test_times_are_exact(text: str, nanoseconds: int) -> None:
    """Rule 13."""
    seen = see(ce_time=text)
    assert isinstance(seen, Prediction)
    assert seen.time == NOW + nanoseconds


def test_a_leap_second_moves_no_other_time() -> None:
    """Rule 13: what was read before changes nothing."""
    decoder = Decoder(ModelRules(), Telemetry())
    body = json.dumps(ROW).encode()
    decoder.decode(headers({"ce_time": "2026-11-20T09:00:60Z"}), body, -1)
    seen = meaning(decoder.decode(headers({"ce_time": "2026-11-20T09:00:01Z"}), body, -1))
    assert isinstance(seen, Prediction)
    assert seen.time == NOW + 10**9


def test_the_record_stands_in_for_a_time() -> None:
    """Rule 13: where there is none, never where it is wrong."""
    seen = see(timestamp=NOW + 5, ce_time=None)
    assert isinstance(seen, Prediction)
    assert seen.time == NOW + 5
    assert reason(timestamp=NOW, ce_time="yesterday") == "bad_time"


@pytest.mark.parametrize(
    ("timestamp", "count"), [(NOW - FUTURE, 0), (NOW - FUTURE - 1, 1), (NOW + 1, 0), (-1, 0)]
)
def test_times_of_the_future_are_counted(timestamp: int, count: int) -> None:
    """Rule 13: more than 5 minutes ahead; the time stays as it is."""
    decoder = Decoder(ModelRules(), Telemetry())
    seen = meaning(decoder.decode(headers({}), json.dumps(ROW).encode(), timestamp))
    assert isinstance(seen, Prediction)
    assert seen.time == NOW
    assert decoder.telemetry.future_times == count
