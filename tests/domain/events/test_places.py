"""Request ids and predictors that stand where the models file says (rules 1 and 2)."""

import json
from typing import Any

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import parse_rules
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.domain.seldon_events import FEEDBACK, RESPONSE, event, fold, kserve
from tests.support.domain.decoding import meaning
from tests.support.domain.payload_kinds import PROTOBUF

V2 = {
    "id": "b-1",
    "parameters": {"order": "o-1"},
    "outputs": [{"name": "o", "datatype": "INT64", "shape": [1], "data": [1]}],
}
METADATA = json.dumps({"X-Order-Id": ["m-1", "m-2"], "Track": "blue"})


def decode(raw: RawEvent, **rule: str) -> Any:
    rules = parse_rules({"models": [{"match": "seldon/iris", **rule}]}, "file")
    decoder = Decoder(rules, Telemetry())
    found = decoder.decode(*raw)
    assert decoder.decode(*raw) == found
    if "request_id" in rule:
        assert not found.reusable  # another event with equal attributes can be of another request
    return meaning(found)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("body", "b-1"),
        ("header X-Order", "h-1"),
        ("header ce-order", "c-1"),
        ("metadata X-Order-Id", "m-1"),
        ("metadata x-order-id", "m-1"),
        ("metadata order", "o-1"),
    ],
)
def test_request_ids(place: str, expected: str) -> None:
    raw = kserve(
        "inference.response", V2, ce_metadata=METADATA, ce_order="c-1", **{"x-order": "h-1"}
    )
    found = decode(raw, request_id=place)
    assert isinstance(found, Prediction)
    assert found.request_id == expected


def test_the_id_of_a_protobuf_body() -> None:
    body = b"\x1a\x03b-2"
    outputs = b"\x0a\x01o\x12\x05INT64\x1a\x01\x01\x2a\x03\x1a\x01\x01"
    body += b"\x2a" + bytes([len(outputs)]) + outputs
    raw = kserve("inference.response", body, **{"content-type": PROTOBUF})
    found = decode(raw, request_id="body")
    assert isinstance(found, Prediction), found
    assert found.request_id == "b-2"


@pytest.mark.parametrize("place", ["body", "header x-order", "metadata order"])
def test_a_prediction_without_the_named_id_is_a_dead_letter(place: str) -> None:
    letter = decode(kserve("inference.response", {"predictions": [1]}), request_id=place)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "no_id"
    assert place in letter.detail


def test_a_feedback_without_the_named_id_has_the_usual_one() -> None:
    file = {"models": [{"match": "seldon/iris", "request_id": "body"}]}
    answers = [
        kserve("inference.response", {**V2, "id": f"b-{i}"}, ce_id=f"k-{i}") for i in range(3)
    ]
    judged = [
        event(FEEDBACK, {"truth": {"predictions": [1]}}, ce_requestid=f"b-{i}") for i in range(2)
    ]
    judged.append(event(FEEDBACK, {"truth": {"predictions": [1]}, "id": "b-2"}))
    result = fold([*answers, *judged], file)
    assert sum(model.correct for model in result.models) == 3
    assert result.events.unmatched_feedback == 0


def test_unreadable_metadata_is_a_dead_letter() -> None:
    for text in ("[1]", "{", '"x"'):
        letter = decode(
            kserve("inference.response", V2, ce_metadata=text), request_id="metadata order"
        )
        assert isinstance(letter, DeadLetter)
        assert (letter.reason, "ce_metadata" in letter.detail) == ("bad_header", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a1", "a1"), ("2.iris.a1", "a1"), ("2.iris.a1,a1", "a1"), ("2.iris.a1, a1", "a1"),
     ("2.other.a1", "2.other.a1"), ("x.iris.a1", "x.iris.a1"), ("2.iris.a1,a2", "2.iris.a1,a2")],
)  # fmt: skip
def test_ids_of_core_2(text: str, expected: str) -> None:
    """The plain form counts, for deployments whose ids are those of Core 2 alone."""
    feedback = event(FEEDBACK, {"reward": 1}, ce_requestid=text)
    found = decode(feedback, request_id="header x-request-id")
    assert isinstance(found, Feedback)
    assert found.request_id == expected
    found = decode(feedback, request_id="body")
    assert isinstance(found, Feedback)
    assert found.request_id == text


@pytest.mark.parametrize(
    ("place", "expected"),
    [("annotation track", "red"), ("metadata track", "blue"), ("annotation none", "")],
)
def test_predictors(place: str, expected: str) -> None:
    def answer(endpoint: str | None) -> RawEvent:
        return kserve(
            "inference.response", V2, ce_metadata=METADATA, ce_endpoint=endpoint,
            ce_annotations='{"track": "red"}',
        )  # fmt: skip

    for endpoint in (None, ""):
        found = decode(answer(endpoint), predictor=place)
        assert isinstance(found, Prediction)
        assert found.model.predictor == expected
    found = decode(answer("default"), predictor=place)
    assert isinstance(found, Prediction)
    assert found.model.predictor == "default"


def test_the_entry_of_the_found_predictor_applies() -> None:
    file = {
        "models": [
            {"match": "seldon/iris/red", "exclude": True},
            {"match": "seldon/iris", "predictor": "annotation track"},
        ]
    }
    answers = [
        kserve("inference.response", V2, ce_endpoint=None, ce_annotations=f'{{"track": "{name}"}}')
        for name in ("red", "green")
    ]
    assert {model.predictor for model in fold(answers, file).models} == {"green"}


def test_lines_of_such_models_have_no_template() -> None:
    """Two events that differ in the body's id alone are two requests, however they are read."""
    rules = parse_rules({"models": [{"match": "*/*", "request_id": "body"}]}, "file")
    body = {"data": {"ndarray": [[0.1, 0.9]]}}
    events = [event(RESPONSE, {**body, "id": f"b-{i}"}) for i in range(4)]
    replay = ReplayFold(rules, Selection())
    for one in events:
        replay.add_lines(format_line(one) + b"\n", 1)
    (model,) = replay.result().models
    assert model.predictions == 4


def test_a_change_of_the_file_applies_to_the_next_event() -> None:
    rules = parse_rules(None, "file")
    decoder = Decoder(rules, Telemetry())
    raw = event(RESPONSE, {**V2, "id": "b-1"})
    for _ in range(2):
        (one,) = decoder.decode(*raw).observations
        assert one.request_id == "r-1"
    entries = parse_rules({"models": [{"match": "*/*", "request_id": "body"}]}, "file").entries
    rules.replace(entries)
    (one,) = decoder.decode(*raw).observations
    assert one.request_id == "b-1"
