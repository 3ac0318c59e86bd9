"""Events that are counted and mean nothing else: of other types, failed answers, explanations."""

import json
from typing import Any

import pytest

from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Prediction
from processor.domain.model_rules import ModelRules
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.domain.seldon_events import FEEDBACK, NS, RESPONSE, event, kserve
from tests.support.domain.decoding import meaning
from tests.support.domain.payload_kinds import PROTOBUF

ROW = {"data": {"names": ["a", "b"], "ndarray": [[0.1, 0.9]]}}
ERROR = {"error": "no instances in the request"}
FAILURE = {"status": {"code": -1, "info": "x", "reason": "MICROSERVICE", "status": "FAILURE"}}
ANCHOR = {"meta": {"name": "AnchorTabular"}, "data": {"anchor": ["age > 3"], "precision": 0.9}}


def decoded(raw: RawEvent) -> tuple[Decoded, dict[str, int]]:
    """The meaning of an event, also after an event with the same headers and a row of data."""
    fresh, later = Decoder(ModelRules(), Telemetry()), Decoder(ModelRules(), Telemetry())
    later.decode(*event(RESPONSE, ROW))
    later.telemetry.events.clear()
    found = fresh.decode(*raw)
    assert later.decode(*raw) == found
    assert later.telemetry.events == fresh.telemetry.events
    return found, dict(fresh.telemetry.events)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (event("io.seldon.serving.inference.outlier", {"data": {"is_outlier": [0]}}), "other"),
        (event("io.seldon.serving.inference.drift", {"data": {"is_drift": 0}}), "other"),
        (event("order.created", None, ce_inferenceservicename=None), "other"),
        (event("order.created", b"\xff", ce_specversion='"1.0"'), "other"),
        (event("", ROW, ce_type=b"\xff"), "other"),
        (event("dev.knative.kafka.event", ROW), "other"),
        (event("", ROW, ce_type=None, type="io.seldon.serving.inference.outlier"), "other"),
        (event(RESPONSE, ERROR), "failed"),
        (event(RESPONSE, {"error": "x", "predictions": None}), "failed"),
        (event(RESPONSE, {"error": "x", "outputs": []}), "failed"),
        (event(RESPONSE, {"error": {"code": 3}, "data": None}), "failed"),
        (event(RESPONSE, b'{"error": "x", "at": NaN}'), "failed"),
        (event(RESPONSE, FAILURE), "failed"),
        (event(RESPONSE, {**FAILURE, **ROW}), "failed"),
        (event(RESPONSE, {"status": {"status": 1}}), "failed"),
        (event(RESPONSE, b"\n\x02 \x01", **{"content-type": PROTOBUF}), "failed"),
        (event(RESPONSE, b"\xff", ce_statuscode="500"), "failed"),
        (event(RESPONSE, ROW, ce_statuscode="400"), "failed"),
        (kserve("inference.response", {"detail": "Not Found"}, ce_statuscode="404"), "failed"),
        (kserve("inference.response", ROW, ce_component="explainer"), "explanation"),
        (event(RESPONSE, ROW, ce_component="explainer"), "explanation"),
        (event(RESPONSE, {"explanations": [{"importances": [0.1]}]}), "explanation"),
        (event(RESPONSE, ANCHOR), "explanation"),
        (event(RESPONSE, {"data": {"shap_values": []}, "meta": {"explanations": []}}), "explanation"),
    ],
)  # fmt: skip
def test_only_counted(raw: RawEvent, kind: str) -> None:
    found, counted = decoded(raw)
    assert (found.observations, found.dead_letters) == ((), ())
    assert counted == {kind: 1}
    assert found.is_other is (kind == "other")
    assert not found.reusable


@pytest.mark.parametrize(
    "raw",
    [
        event(RESPONSE, ROW, ce_statuscode="200"),
        event(RESPONSE, ROW, ce_statuscode="none"),
        event(RESPONSE, {"error": "late", **ROW}),
        event(RESPONSE, {"error": None, **ROW}),
        event(RESPONSE, {"status": {"status": "SUCCESS"}, **ROW}),
        event(RESPONSE, {"explanations": [1], "predictions": [1]}),
        event("io.kserve.inference.response", ROW),
    ],
)
def test_predictions_all_the_same(raw: RawEvent) -> None:
    found, counted = decoded(raw)
    assert isinstance(meaning(found), Prediction)
    assert counted == {"response": 1}


def test_requests_of_kserve() -> None:
    assert decoded(event("io.kserve.inference.request", ROW))[1] == {"request": 1}


@pytest.mark.parametrize("body", [{"detail": "x"}, {"error": None}, {"meta": {}}, {"data": {}}, []])
def test_answers_without_data_are_dead_letters(body: object) -> None:
    letter = meaning(decoded(event(RESPONSE, body))[0])
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_shape"


@pytest.mark.parametrize(
    ("change", "reason", "name"),
    [
        ({"ce_type": f'"{RESPONSE}"'}, "bad_header", "ce_type"),
        ({"ce_specversion": '"1.0"'}, "bad_header", "ce_specversion"),
        ({"ce_inferenceservicename": '"iris"'}, "bad_header", '"iris"'),
        ({"ce_time": '"2026-11-20T09:00:00Z"'}, "bad_time", "ce_time"),
    ],
)
def test_attributes_in_quotes_are_named(change: dict[str, Any], reason: str, name: str) -> None:
    letter = meaning(decoded(event(RESPONSE, ROW, **change))[0])
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason
    assert name in letter.detail
    assert "in quotes" in letter.detail


@pytest.mark.parametrize("order", [1, -1])
def test_ce_with_an_underscore_wins_over_a_dash(order: int) -> None:
    raw = event(RESPONSE, ROW, **{"ce-requestid": "dash", "ce-foo": "x"})
    found = meaning(decoded(raw._replace(headers=raw.headers[::order]))[0])
    assert isinstance(found, Prediction)
    assert found.request_id == "r-1"


def lines(events: list[RawEvent]) -> bytes:
    return b"".join(format_line(one) + b"\n" for one in events)


def test_lines_are_not_read_by_a_template_that_ignores_what_they_are() -> None:
    """The native and the general reader of lines count such events like the decoder."""
    plain = event(RESPONSE, ROW, ce_requestid="a")
    fold = ReplayFold(ModelRules(), Selection())
    more = [
        event(RESPONSE, ROW, ce_requestid="b", ce_statuscode="500"),
        event(RESPONSE, ROW, ce_requestid="c", ce_component="explainer"),
        event(RESPONSE, ROW, ce_requestid="d", ce_specversion='"1.0"'),
        event("io.kserve.inference.response", ROW, ce_requestid="e"),
        event(RESPONSE, ROW, ce_requestid="f", ce_time="0001-01-01T00:00:00Z"),
    ]
    for block in ([plain], [plain], more, more):
        fold.add_lines(lines(block), 1)
    events = fold.result().events
    assert (events.read, events.failed, events.explanation, events.other) == (12, 2, 2, 0)
    assert events.dead_letters == {"bad_header": 2, "bad_time": 2}
    assert sum(model.predictions or 0 for model in fold.result().models) == 2


def test_the_zero_time_of_go_is_none() -> None:
    """Rule 13: the record's time stands in; other times of that year are as good as none."""
    for text in ("0001-01-01T00:00:00Z", "0001-12-31t23:59:59.5+00:00"):
        for kind, body in ((RESPONSE, ROW), (FEEDBACK, {"reward": 1})):
            found = meaning(decoded(event(kind, body, ce_time=text))[0])
            assert found is not None
            assert not isinstance(found, DeadLetter)
            assert found.time == NS
    letter = meaning(decoded(event(RESPONSE, ROW, ce_time="0001-13-01T00:00:00Z"))[0])
    assert isinstance(letter, DeadLetter)


@pytest.mark.parametrize(
    ("text", "reward"),
    [("0.9", 900_000), ("1e6", 10**12), ("-1", -1_000_000), ("+.5", 500_000), ("1e-999999", 0),
     ("0.0000005", 0), ("0.0000015", 2), ("0.0000005000000000000000000000000000001", 1),
     ("1000000.0000000000000000000000000001", None), ("1e999999", None), ("", None), (" 1", None),
     ("NaN", None), ("1_0", None), ("\u0661", None), ("true", None), ("0x1", None)],
)  # fmt: skip
def test_rewards_as_texts(text: str, reward: int | None) -> None:
    """Rule 7: rounded once, half to even, from the exact value."""
    found = meaning(decoded(event(FEEDBACK, json.dumps({"reward": text}).encode()))[0])
    if reward is None:
        assert isinstance(found, DeadLetter)
        assert found.reason == "bad_reward"
    else:
        assert found is not None
        assert not isinstance(found, Prediction | DeadLetter)
        assert found.reward == reward
