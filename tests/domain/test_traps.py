"""Events as Seldon, KServe and Knative really send them, and known pitfalls of their formats."""

import gzip
import json
from typing import Any

import pytest

from processor.domain.events.compression import MAX_BODY
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.structured import MAX_BATCH
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.telemetry import Telemetry
from tests.domain.seldon_events import FEEDBACK, NS, RESPONSE, decode, event, fold, kserve, only
from tests.support.domain.decoding import meaning
from tests.support.domain.payload_kinds import DATA, PROTOBUF

IRIS = {"data": {"names": ["a", "b", "c"], "ndarray": [[0.1, 0.7, 0.2]]}}
PAIR = {"data": {"ndarray": [[0.1, 0.9], [0.8, 0.2]]}}


def test_the_id_of_a_kserve_event_identifies_the_request() -> None:
    """Without ``Ce-Requestid`` the ``Ce-Id`` identifies the request: both events have the same one."""
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


def test_a_transformer_of_kserve_is_a_separate_node() -> None:
    models = fold(
        [
            kserve("inference.response", {"predictions": [1]}),
            kserve("inference.response", {"predictions": [0]}, ce_component="transformer"),
        ]
    ).models
    assert [(model.model, model.predictions) for model in models] == [("", 1), ("transformer", 1)]


def test_one_puid_from_several_nodes_and_predictors() -> None:
    """Each node's answer is a prediction; truth judges all of them, a reward only the named one."""
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


def test_nodes_can_be_excluded() -> None:
    file = {"models": [{"match": "seldon/*/*/outl*", "exclude": True}]}
    model = only([event(RESPONSE, IRIS), event(RESPONSE, IRIS, ce_modelid="outlier")], file)
    assert model.model == "classifier"


def test_feedback_on_a_batch_judges_its_rows() -> None:
    """Feedback with the puid alone judges a batch row by row."""
    truth = {"truth": {"data": {"ndarray": [[0, 1], [0, 1]]}}}
    model = only([event(RESPONSE, PAIR), event(FEEDBACK, truth)])
    assert (model.predictions, model.judged, model.correct) == (2, 2, 1)


@pytest.mark.parametrize("reward", [0, False, 0.0, -0.0])
def test_a_reward_of_zero_counts(reward: object) -> None:
    model = only([event(RESPONSE, IRIS), event(FEEDBACK, {"reward": reward})])
    assert (model.judged, model.correct, model.rewards, model.unknown_actual) == (1, 0, 1, 1)


def test_feedback_without_reward_and_truth_says_nothing() -> None:
    result = fold([event(RESPONSE, IRIS), event(FEEDBACK, {"truth": {"meta": {}}})])
    assert (result.models[0].judged, result.events.says_nothing) == (0, 1)


@pytest.mark.parametrize("answer", [1, 1.0, "1", [1], [[1.0]], True])
@pytest.mark.parametrize("truth", [1, 1.0, "1", ["1"], [[1]]])
def test_equal_labels_in_different_notations(answer: object, truth: object) -> None:
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
        {"data": {"names": ["c", "b", "a"], "ndarray": [[0, 1, 0]]}},  # in a different order
        {"strData": "b"},
        {"predictions": [[0, 1, 0]]},
        {"outputs": [{"name": "truth", "datatype": "BYTES", "shape": [1], "data": ["b"]}]},
    ],
)
def test_equal_truths_in_different_formats(truth: object) -> None:
    model = only([event(RESPONSE, IRIS), event(FEEDBACK, {"truth": truth})])
    assert (model.judged, model.correct, list(model.classes)) == (1, 1, ["b"])


def test_feedback_twice_then_corrected() -> None:
    wrong = event(FEEDBACK, {"truth": {"strData": "a"}})
    right = event(FEEDBACK, {"truth": {"strData": "b"}}, ce_time="2026-11-20T10:00:00Z")
    result = fold([event(RESPONSE, IRIS), wrong, wrong, right])
    assert (result.models[0].judged, result.models[0].correct) == (1, 1)
    assert (result.events.duplicates, result.events.corrections) == (1, 1)


def test_an_embedded_response_is_not_a_prediction() -> None:
    """Only response events are predictions, not a response inside a feedback."""
    feedback = event(FEEDBACK, (DATA / "feedback-response-truth.json").read_bytes())
    alone = fold([feedback])
    assert (alone.models, alone.events.unmatched_feedback) == ((), 1)
    (model,) = fold([feedback, event(RESPONSE, IRIS)]).models
    assert (model.predictions, model.correct) == (1, 0)


def test_a_body_larger_than_the_request_logger_accepts() -> None:
    """Seldon's request logger silently drops bodies over 300,000 bytes."""
    rows = [[0.1, 0.9]] * 20_000
    body = {"data": {"ndarray": rows}, "meta": {"tags": {"input": "x" * 300_000}}}
    assert only([event(RESPONSE, body)]).predictions == 20_000


@pytest.mark.parametrize("kind", [RESPONSE, FEEDBACK])
def test_a_tombstone_is_kept_as_a_dead_letter(kind: str) -> None:
    dead_letter = decode(event(kind, None))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == "bad_json"


def test_a_tombstone_without_headers() -> None:
    dead_letter = decode(RawEvent([], None, NS))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == "not_cloudevent"


def test_a_request_without_data_is_read() -> None:
    assert decode(event("io.seldon.serving.inference.request", None)) is None


def test_null_headers_count_as_missing() -> None:
    """A Kafka header with a null value counts as missing."""
    headers: list[Any] = [
        (name, None if name in ("ce_endpoint", "ce_time", "content-type") else content)
        for name, content in event(RESPONSE, IRIS).headers
    ]
    decoded = decode(RawEvent(headers, json.dumps(IRIS).encode(), NS + 5))
    assert isinstance(decoded, Prediction)
    assert (decoded.model.predictor, decoded.time) == ("", NS + 5)


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
def test_unreadable_records_of_the_executor(change: dict[str, str | None], reason: str) -> None:
    dead_letter = decode(plain(change))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == reason


def test_a_record_of_the_executor_has_the_time_of_the_record() -> None:
    decoded = decode(plain({"Content-Type": "application/json", "content-type": None}))
    assert isinstance(decoded, Prediction)
    assert (decoded.model, decoded.time) == (
        ModelKey("seldon", "iris", "default", "classifier"),
        NS,
    )


@pytest.mark.parametrize(
    ("wrapped", "expected"),
    [
        ({"kafkaheadertype": RESPONSE, "kafkaheaderrequestid": "r-2"}, "r-2"),
        ({"kafkaheadertype": RESPONSE, "kafkaheaderseldonpuid": "r-3"}, "r-3"),
        ({"kafkaheadertype": RESPONSE}, "!no_id"),  # the event's id is that of the record
    ],
)
def test_events_wrapped_by_kafka_source(wrapped: dict[str, str], expected: str) -> None:
    raw = event(
        "dev.knative.kafka.event",
        IRIS,
        ce_requestid=None,
        ce_id="partition:0/offset:1",
        ce_kafkaheaderinferenceservicename="iris",
        **{f"ce_{name}": text for name, text in wrapped.items()},
    )
    decoded = decode(raw)
    if expected[0] == "!":
        assert isinstance(decoded, DeadLetter)
        assert decoded.reason == expected[1:]
    else:
        assert isinstance(decoded, Prediction)
        assert (decoded.request_id, decoded.time) == (expected, NS)


def test_structured_mode_takes_precedence_over_attributes_in_headers() -> None:
    """The content type decides the mode, even after a binary event with the same headers."""
    decoder = Decoder(parse_rules(None, ""), Telemetry())
    decoder.decode(*event(RESPONSE, IRIS))
    inner = {"type": RESPONSE, "id": "x", "inferenceservicename": "inner", "data": IRIS}
    structured = event(RESPONSE, inner, **{"content-type": "application/cloudevents+json"})
    decoded = meaning(decoder.decode(*structured))
    assert isinstance(decoded, Prediction)
    assert (decoded.model.deployment, decoded.request_id) == ("inner", "x")


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
def test_unreadable_modes(content_type: str, body: bytes, reason: str) -> None:
    dead_letter = decode(RawEvent([("content-type", content_type.encode())], body, NS))
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == reason


def test_an_invalid_event_of_a_batch_affects_no_other() -> None:
    good = {"type": RESPONSE, "id": "x", "inferenceservicename": "iris", "data": IRIS}
    bad = {**good, "inferenceservicename": ""}
    batch = json.dumps([good, {"type": "order"}, bad, 5, {**good, "id": "y"}]).encode()
    raw = RawEvent([("content-type", b"application/cloudevents-batch+json")], batch, NS)
    result = fold([raw])
    assert result.models[0].predictions == 2
    assert (result.events.read, result.events.other) == (5, 1)
    assert result.events.dead_letters == {"bad_header": 1, "not_cloudevent": 1}


def test_an_empty_batch_has_no_events() -> None:
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
    # The bytes hold the time, and names must be the same in every process of pytest-xdist.
    ids=["too much", "too much in two parts", "cut off", "no gzip", "no JSON"],
)
def test_unreadable_compressed_bodies(body: bytes, reason: str) -> None:
    """Decompression stops at the size limit, so a gzip bomb does no harm."""
    for raw in (
        event(RESPONSE, body),
        RawEvent([("content-type", b"application/cloudevents+json")], body, NS),
    ):
        dead_letter = decode(raw)
        assert isinstance(dead_letter, DeadLetter)
        assert dead_letter.reason == reason


@pytest.mark.parametrize("kind", [RESPONSE, FEEDBACK])
def test_other_content_encodings_are_named(kind: str) -> None:
    dead_letter = decode(event(kind, b"\x0b\x02\x80{}\x03", **{"content-encoding": "br"}))
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.reason, "content-encoding br" in dead_letter.detail) == ("bad_header", True)


@pytest.mark.parametrize("headers", [{"content-type": PROTOBUF}, {"content-encoding": "br"}])
def test_json_is_read_despite_wrong_headers(headers: dict[str, str]) -> None:
    assert isinstance(decode(event(RESPONSE, IRIS, **headers)), Prediction)
    assert isinstance(decode(event(FEEDBACK, {"reward": 1}, **headers)), Feedback)


@pytest.mark.parametrize(
    ("name", "truth", "reward"),
    [
        ("feedback-truth", ["cat"], 1_000_000),
        # Protobuf omits zeros: a message without truth and reward is a reward of 0.
        ("feedback-reward-0", None, 0),
        ("feedback-reward-0.1", None, 100_000),
    ],
)
def test_feedback_of_a_grpc_client(name: str, truth: list[str] | None, reward: int) -> None:
    body = (DATA / f"{name}.pb").read_bytes()
    decoded = decode(event(FEEDBACK, body, **{"content-type": PROTOBUF}))
    assert isinstance(decoded, Feedback)
    assert decoded.reward == reward
    assert (None if decoded.truth is None else [row.value for row in decoded.truth]) == truth


@pytest.mark.parametrize("protocol", ["seldon", "v2", "tensorflow"])
@pytest.mark.parametrize("body", [b"", b"\x0a\xff\xff\xff\xff\x7f", b"\x1a\x02\xff\xff", b"\x00"])
def test_unreadable_protobuf_messages(protocol: str, body: bytes) -> None:
    raw = event(RESPONSE, body, ce_protocol=protocol, **{"content-type": PROTOBUF})
    dead_letter = decode(raw)
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == "bad_shape"


@pytest.mark.parametrize("with_header", [True, False])
def test_binary_outputs_with_and_without_the_header(with_header: bool) -> None:
    head = b'{"outputs":[{"name":"a","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}'
    head += b',{"name":"b","datatype":"UINT8","shape":[1],"data":[9]}]}'
    body = head + b"\x05\xff"
    header = str(len(head)) if with_header else None
    raw = event(RESPONSE, body, **{"inference-header-content-length": header})
    decoded = decode(raw)
    assert isinstance(decoded, Prediction)
    assert [answer.label for answer in decoded.answers] == ["5", "-1"]


@pytest.mark.parametrize(
    ("length", "tail", "reason"),
    [
        ("x", b"\x05\xff", "bad_header"),
        ("9999", b"\x05\xff", "bad_header"),
        (None, b"\x05", "bad_json"),
        (None, b"", "bad_shape"),
    ],
)
def test_unreadable_binary_outputs(length: str | None, tail: bytes, reason: str) -> None:
    output = {"name": "a", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    raw = event(
        RESPONSE,
        json.dumps({"outputs": [output]}).encode() + tail,
        **{"inference-header-content-length": length},
    )
    dead_letter = decode(raw)
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.reason == reason
