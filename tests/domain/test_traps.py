"""What Seldon, KServe and Knative really send, and what others have stumbled over."""

import gzip
import json
from collections.abc import Iterable
from typing import Any

import pytest

from processor.domain.events.compression import MAX_BODY
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.structured import MAX_BATCH
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.domain.timestamps import parse_time
from processor.replay.fold import ReplayFold, Selection
from processor.telemetry import Telemetry
from tests.support.decoding import meaning
from tests.support.payload_kinds import DATA, PROTOBUF

RESPONSE, FEEDBACK = "io.seldon.serving.inference.response", "io.seldon.serving.feedback"
NS = parse_time("2026-11-20T09:00:00Z") or 0
IRIS = {"data": {"names": ["a", "b", "c"], "ndarray": [[0.1, 0.7, 0.2]]}}
PAIR = {"data": {"ndarray": [[0.1, 0.9], [0.8, 0.2]]}}


def event(kind: str, body: object, **change: str | bytes | None) -> RawEvent:
    """An event of the executor's on a Knative topic; None leaves an attribute out."""
    texts: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": "e-1",
        "ce_source": "http://:8000/",
        "ce_type": kind,
        "ce_time": "2026-11-20T09:00:00Z",
        "ce_requestid": "r-1",
        "ce_modelid": "classifier",
        "ce_inferenceservicename": "iris",
        "ce_namespace": "seldon",
        "ce_endpoint": "default",
        "content-type": "application/json",
        **change,
    }
    headers = [
        (name, text.encode() if isinstance(text, str) else text)
        for name, text in texts.items()
        if text is not None
    ]
    value = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return RawEvent(headers, value, NS)


def kserve(kind: str, body: object, **change: str | None) -> RawEvent:
    """KServe: no requestid, no modelid, one id for request and response."""
    own = {
        "ce_id": "k-1",
        "ce_requestid": None,
        "ce_modelid": None,
        "ce_component": "predictor",
        "ce_metadata": "{}",
        "ce_recordedtime": "2026-11-20T09:00:00.1Z",
    }
    return event(f"org.kubeflow.serving.{kind}", body, **{**own, **change})


def fold(events: Iterable[RawEvent], file: object = None) -> Any:
    folded = ReplayFold(parse_rules(file, "models.yaml"), Selection())
    folded.add(events)
    return folded.result()


def only(events: Iterable[RawEvent], file: object = None) -> Any:
    (model,) = fold(events, file).models
    return model


def said_by(raw: RawEvent) -> Any:
    return meaning(Decoder(parse_rules(None, ""), Telemetry()).decode(*raw))


def test_the_id_of_kserve_is_the_request() -> None:
    """``Ce-Requestid`` is missing: ``Ce-Id`` joins, and both events have the same one."""
    result = fold(
        [
            kserve("inference.request", {"instances": [[1, 2]]}),
            kserve("inference.response", {"predictions": [[0.1, 0.9]]}),
            event(FEEDBACK, {"truth": {"predictions": [1]}}, ce_requestid="k-1", ce_modelid=None),
        ]
    )
    (model,) = result.models
    assert (model.model, model.predictions, model.correct) == ("", 1, 1)
    assert (result.events.read, result.events.duplicates) == (3, 0)


def test_a_transformer_of_kserve_is_a_node_of_its_own() -> None:
    models = fold(
        [
            kserve("inference.response", {"predictions": [1]}),
            kserve("inference.response", {"predictions": [0]}, ce_component="transformer"),
        ]
    ).models
    assert [(model.model, model.predictions) for model in models] == [("", 1), ("transformer", 1)]


def test_one_puid_from_several_nodes_and_predictors() -> None:
    """A prediction each; truth judges all of them, a reward the one that it names."""
    answers = [("default", "classifier"), ("default", "outlier"), ("canary", "classifier")]
    predictions = [
        event(RESPONSE, IRIS, ce_endpoint=predictor, ce_modelid=node) for predictor, node in answers
    ]
    judged = fold([*predictions, event(FEEDBACK, {"truth": {"strData": "b"}})]).models
    assert sorted((m.predictor, m.model) for m in judged) == sorted(answers)
    assert [model.correct for model in judged] == [1, 1, 1]
    named = fold([*predictions, event(FEEDBACK, {"reward": 1})]).models
    assert {(m.predictor, m.model): m.judged for m in named} == {
        answer: int(answer == answers[0]) for answer in answers
    }


def test_nodes_can_be_left_out() -> None:
    file = {"models": [{"match": "seldon/*/*/outl*", "exclude": True}]}
    model = only([event(RESPONSE, IRIS), event(RESPONSE, IRIS, ce_modelid="outlier")], file)
    assert model.model == "classifier"


def test_feedback_on_a_batch_reaches_its_rows() -> None:
    """By the bare puid, row by row."""
    truth = {"truth": {"data": {"ndarray": [[0, 1], [0, 1]]}}}
    model = only([event(RESPONSE, PAIR), event(FEEDBACK, truth)])
    assert (model.predictions, model.judged, model.correct) == (2, 2, 1)


@pytest.mark.parametrize("reward", [0, False, 0.0, -0.0])
def test_a_reward_of_zero_is_one(reward: object) -> None:
    model = only([event(RESPONSE, IRIS), event(FEEDBACK, {"reward": reward})])
    assert (model.judged, model.correct, model.rewards, model.unknown_actual) == (1, 0, 1, 1)


def test_a_reward_that_is_absent_is_none() -> None:
    result = fold([event(RESPONSE, IRIS), event(FEEDBACK, {"truth": {"meta": {}}})])
    assert (result.models[0].judged, result.events.says_nothing) == (0, 1)


@pytest.mark.parametrize("answer", [1, 1.0, "1", [1], [[1.0]], True])
@pytest.mark.parametrize("truth", [1, 1.0, "1", ["1"], [[1]]])
def test_one_label_however_it_is_written(answer: object, truth: object) -> None:
    model = only(
        [
            event(RESPONSE, {"data": {"ndarray": [answer]}}),
            event(FEEDBACK, {"truth": {"data": {"ndarray": [truth]}}}),
        ]
    )
    assert (model.correct, list(model.classes)) == (1, ["1"])


@pytest.mark.parametrize(
    "truth",
    [
        {"data": {"ndarray": [[0, 1, 0]]}},  # one-hot
        {"data": {"ndarray": [1]}},  # its position
        {"data": {"ndarray": ["b"]}},  # its name
        {"data": {"ndarray": [[0.2, 0.6, 0.2]]}},  # probabilities
        {"data": {"names": ["c", "b", "a"], "ndarray": [[0, 1, 0]]}},  # in an order of its own
        {"strData": "b"},
        {"predictions": [[0, 1, 0]]},
        {"outputs": [{"name": "truth", "datatype": "BYTES", "shape": [1], "data": ["b"]}]},
    ],
)
def test_one_truth_however_it_is_given(truth: object) -> None:
    model = only([event(RESPONSE, IRIS), event(FEEDBACK, {"truth": truth})])
    assert (model.judged, model.correct, list(model.classes)) == (1, 1, ["b"])


def test_feedback_twice_then_corrected() -> None:
    wrong = event(FEEDBACK, {"truth": {"strData": "a"}})
    right = event(FEEDBACK, {"truth": {"strData": "b"}}, ce_time="2026-11-20T10:00:00Z")
    result = fold([event(RESPONSE, IRIS), wrong, wrong, right])
    assert (result.models[0].judged, result.models[0].correct) == (1, 1)
    assert (result.events.duplicates, result.events.corrections) == (1, 1)


def test_an_embedded_response_makes_no_prediction() -> None:
    """Only a response event does."""
    feedback = event(FEEDBACK, (DATA / "feedback-response-truth.json").read_bytes())
    alone = fold([feedback])
    assert (alone.models, alone.events.unmatched_feedback) == ((), 1)
    (model,) = fold([feedback, event(RESPONSE, IRIS)]).models
    assert (model.predictions, model.correct) == (1, 0)


def test_a_body_larger_than_the_request_logger_takes() -> None:
    """That one drops over 300,000 bytes with a 200."""
    rows = [[0.1, 0.9]] * 20_000
    body = {"data": {"ndarray": rows}, "meta": {"tags": {"input": "x" * 300_000}}}
    assert only([event(RESPONSE, body)]).predictions == 20_000


@pytest.mark.parametrize("kind", [RESPONSE, FEEDBACK])
def test_a_tombstone_is_kept_as_a_dead_letter(kind: str) -> None:
    letter = said_by(event(kind, None))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_json"


def test_a_tombstone_without_headers() -> None:
    letter = said_by(RawEvent([], None, NS))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "not_cloudevent"


def test_a_request_without_data_is_read() -> None:
    assert said_by(event("io.seldon.serving.inference.request", None)) is None


def test_null_headers_are_missing_ones() -> None:
    """Kafka tells an empty header from none."""
    headers: list[Any] = [
        (name, None if name in ("ce_endpoint", "ce_time", "content-type") else content)
        for name, content in event(RESPONSE, IRIS).headers
    ]
    said = said_by(RawEvent(headers, json.dumps(IRIS).encode(), NS + 5))
    assert isinstance(said, Prediction)
    assert (said.model.predictor, said.time) == ("", NS + 5)


EXECUTOR = {
    "type": RESPONSE,
    "content-type": "application/json",
    "modelid": "classifier",
    "requestid": "r-1",
    "inferenceservicename": "iris",
    "namespace": "seldon",
    "endpoint": "default",
    "protocol": "seldon",
}


def plain(change: dict[str, str | None]) -> RawEvent:
    headers = {**EXECUTOR, **change}
    return RawEvent(
        [(name, text.encode()) for name, text in headers.items() if text is not None],
        json.dumps(IRIS).encode(),
        NS,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"requestid": None}, "no_id"),
        ({"requestid": None, "ce_id": "e-1"}, "no_id"),
        ({"inferenceservicename": None}, "bad_header"),
        ({"type": "order.created"}, "not_cloudevent"),
        ({"type": None}, "not_cloudevent"),
    ],
)
def test_records_of_the_executor_that_cannot_be_read(
    change: dict[str, str | None], reason: str
) -> None:
    letter = said_by(plain(change))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason


def test_a_record_of_the_executor_has_the_records_time() -> None:
    said = said_by(plain({"Content-Type": "application/json", "content-type": None}))
    assert isinstance(said, Prediction)
    assert (said.model, said.time) == (ModelKey("seldon", "iris", "default", "classifier"), NS)


@pytest.mark.parametrize(
    ("wrapped", "expected"),
    [
        ({"kafkaheadertype": RESPONSE, "kafkaheaderrequestid": "r-2"}, "r-2"),
        ({"kafkaheadertype": RESPONSE, "kafkaheaderseldonpuid": "r-3"}, "r-3"),
        ({"kafkaheadertype": RESPONSE}, "!no_id"),  # the event's id names the record
        ({"kafkaheadertype": "order.created"}, "!unknown_type"),
        ({}, "!unknown_type"),
    ],
)
def test_what_kafka_source_wraps(wrapped: dict[str, str], expected: str) -> None:
    raw = event(
        "dev.knative.kafka.event",
        IRIS,
        ce_requestid=None,
        ce_id="partition:0/offset:1",
        ce_kafkaheaderinferenceservicename="iris",
        **{f"ce_{name}": text for name, text in wrapped.items()},
    )
    said = said_by(raw)
    if expected[0] == "!":
        assert isinstance(said, DeadLetter)
        assert said.reason == expected[1:]
    else:
        assert isinstance(said, Prediction)
        assert (said.request_id, said.time) == (expected, NS)


def test_structured_wins_over_attributes_in_headers() -> None:
    """The content type decides; what was read before must not make it forgotten."""
    decoder = Decoder(parse_rules(None, ""), Telemetry())
    decoder.decode(*event(RESPONSE, IRIS))
    inner = {"type": RESPONSE, "id": "x", "inferenceservicename": "inner", "data": IRIS}
    structured = event(RESPONSE, inner, **{"content-type": "application/cloudevents+json"})
    said = meaning(decoder.decode(*structured))
    assert isinstance(said, Prediction)
    assert (said.model.deployment, said.request_id) == ("inner", "x")


@pytest.mark.parametrize(
    ("content_type", "body", "reason"),
    [
        ("application/cloudevents+avro", b"x", "not_cloudevent"),
        ("application/cloudevents-batch+xml", b"[]", "not_cloudevent"),
        ("application/cloudevents-batch+json", b"{}", "bad_json"),
        ("application/cloudevents-batch+json", b"[", "bad_json"),
        ("application/cloudevents-batch+json", b"[" + b"1," * MAX_BATCH + b"1]", "too_large"),
        ("application/cloudevents+json", b"[1]", "not_cloudevent"),
    ],
)
def test_modes_that_cannot_be_read(content_type: str, body: bytes, reason: str) -> None:
    letter = said_by(RawEvent([("content-type", content_type.encode())], body, NS))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason


def test_a_broken_event_of_a_batch_is_lost_alone() -> None:
    good = {"type": RESPONSE, "id": "x", "inferenceservicename": "iris", "data": IRIS}
    batch = json.dumps([good, {"type": "order"}, 5, {**good, "id": "y"}]).encode()
    raw = RawEvent([("content-type", b"application/cloudevents-batch+json")], batch, NS)
    result = fold([raw])
    assert result.models[0].predictions == 2
    assert result.events.read == 4
    assert result.events.dead_letters == {"not_cloudevent": 1, "unknown_type": 1}


def test_an_empty_batch_says_nothing() -> None:
    raw = RawEvent([("content-type", b"application/cloudevents-batch+json")], b"[]", NS)
    assert fold([raw]).events.read == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(b" " * (MAX_BODY + 1)), "too_large"),
        (gzip.compress(b" " * MAX_BODY) + gzip.compress(b" "), "too_large"),
        (gzip.compress(b"{}" * 100)[:-10], "bad_shape"),
        (b"\x1f\x8b\x08junk", "bad_shape"),
        (gzip.compress(b"{not json"), "bad_json"),
    ],
)
def test_packed_bodies_that_cannot_be_read(body: bytes, reason: str) -> None:
    """A bomb is unpacked no further than the bound."""
    for raw in (
        event(RESPONSE, body),
        RawEvent([("content-type", b"application/cloudevents+json")], body, NS),
    ):
        letter = said_by(raw)
        assert isinstance(letter, DeadLetter)
        assert letter.reason == reason


@pytest.mark.parametrize("kind", [RESPONSE, FEEDBACK])
def test_other_ways_of_packing_are_named(kind: str) -> None:
    letter = said_by(event(kind, b"\x0b\x02\x80{}\x03", **{"content-encoding": "br"}))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, "content-encoding br" in letter.detail) == ("bad_header", True)


@pytest.mark.parametrize("headers", [{"content-type": PROTOBUF}, {"content-encoding": "br"}])
def test_json_is_read_whatever_the_headers_say(headers: dict[str, str]) -> None:
    assert isinstance(said_by(event(RESPONSE, IRIS, **headers)), Prediction)
    assert isinstance(said_by(event(FEEDBACK, {"reward": 1}, **headers)), Feedback)


@pytest.mark.parametrize(
    ("name", "truth", "reward"),
    [
        ("feedback-truth", ["cat"], 1_000_000),
        # Protobuf sends no zeros: alone it is a reward of 0.
        ("feedback-reward-0", None, 0),
        ("feedback-reward-0.1", None, 100_000),
    ],
)
def test_feedback_of_a_grpc_client(name: str, truth: list[str] | None, reward: int) -> None:
    body = (DATA / f"{name}.pb").read_bytes()
    said = said_by(event(FEEDBACK, body, **{"content-type": PROTOBUF}))
    assert isinstance(said, Feedback)
    assert said.reward == reward
    assert (None if said.truth is None else [row.value for row in said.truth]) == truth


@pytest.mark.parametrize("protocol", ["seldon", "v2", "tensorflow"])
@pytest.mark.parametrize("body", [b"", b"\x0a\xff\xff\xff\xff\x7f", b"\x1a\x02\xff\xff", b"\x00"])
def test_messages_that_cannot_be_read(protocol: str, body: bytes) -> None:
    raw = event(RESPONSE, body, ce_protocol=protocol, **{"content-type": PROTOBUF})
    letter = said_by(raw)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "bad_shape"


@pytest.mark.parametrize("told", [True, False])
def test_binary_outputs_with_and_without_the_header(told: bool) -> None:
    head = b'{"outputs":[{"name":"a","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}'
    head += b',{"name":"b","datatype":"UINT8","shape":[1],"data":[9]}]}'
    body = head + b"\x05\xff"
    header = str(len(head)) if told else None
    raw = event(RESPONSE, body, **{"inference-header-content-length": header})
    said = said_by(raw)
    assert isinstance(said, Prediction)
    assert [answer.label for answer in said.answers] == ["5", "-1"]


@pytest.mark.parametrize(
    ("length", "tail", "reason"),
    [
        ("x", b"\x05\xff", "bad_header"),
        ("9999", b"\x05\xff", "bad_header"),
        (None, b"\x05", "bad_json"),
        (None, b"", "bad_shape"),
    ],
)
def test_binary_outputs_that_cannot_be_read(length: str | None, tail: bytes, reason: str) -> None:
    output = {"name": "a", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    raw = event(
        RESPONSE,
        json.dumps({"outputs": [output]}).encode() + tail,
        **{"inference-header-content-length": length},
    )
    letter = said_by(raw)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason
