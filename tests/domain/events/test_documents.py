"""Documents of the request logger: what they say, and that it is what their events said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.events_file import parse_line
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.request_log import merge, read_logged
from processor.domain.log.observations import DOCUMENT, EVENT, Feedback, Prediction
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.timestamps import parse_time
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.support.domain.decoding import Part, parts

DATA = Path(__file__).parents[2] / "data" / "seed-experiment" / "notebook-types"
ANSWERED, JUDGED = "2026-11-20T10:00:00.000000001Z", "2026-11-20T11:00:00.5Z"


def reading(
    rules: ModelRules | None = None, telemetry: Telemetry | None = None
) -> Callable[[Document], list[Part]]:
    """A function that gives the parts of each document, all read by one reader."""
    reader = DocumentReader(rules or ModelRules(), telemetry or Telemetry())
    return lambda document: parts(reader.read(document))


def document(source: Any, name: str = "r1") -> Document:
    text = source if isinstance(source, bytes) else json.dumps(source).encode()
    return Document("inference-log-x", name, 1, text)


def source(**parts: Any) -> dict[str, Any]:
    return {
        "RequestId": "r1",
        "Ce-Namespace": "ns",
        "Ce-Inferenceservicename": "dep",
        "Ce-Endpoint": "canary",
        "Ce-Modelid": "last",
        "@timestamp": JUDGED,
        **parts,
    }


def response(*rows: Any, path: Any = None, **more: Any) -> dict[str, Any]:
    payload = {"data": {"names": ["a", "b"], "ndarray": list(rows)}, **more}
    if path is not None:
        payload["meta"] = {"requestPath": path}
    return {"ce-time": ANSWERED, "payload": payload}


def feedback(**body: Any) -> dict[str, Any]:
    return {"ce-time": JUDGED, "ce-source": "x", **body}


def reasons(said: list[Part]) -> list[str]:
    return [one.reason for one in said if isinstance(one, DeadLetter)]


def events_of(path: Path) -> list[Prediction | Feedback]:
    decoder = Decoder(ModelRules(), Telemetry())
    found = (decoder.decode(*parse_line(line, 1, 0)) for line in path.read_bytes().splitlines())
    return [one for decoded in found for one in decoded.observations]


def documents_of(path: Path) -> list[Document]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [document(line["_source"], line["_id"]) for line in lines]


def test_documents_say_what_their_events_said() -> None:
    read = reading()
    said = [one for doc in documents_of(DATA / "elasticsearch.ndjson") for one in read(doc)]
    events = events_of(DATA / "events.ndjson")
    as_documents = [
        event._replace(source_rank=DOCUMENT, provisional=True)
        if isinstance(event, Prediction)
        else event._replace(source_rank=DOCUMENT)
        for event in events
    ]
    assert sorted(said, key=repr) == sorted(as_documents, key=repr)
    assert len(said) == 163


def test_documents_and_events_together_are_duplicates() -> None:
    for documents_first in (True, False):
        fold = ReplayFold(ModelRules(), Selection())
        events = [parse_line(line, 1, 0) for line in (DATA / "events.ndjson").open("rb")]
        if not documents_first:
            fold.add(events)
        fold.add_documents(documents_of(DATA / "elasticsearch.ndjson"))
        if documents_first:
            fold.add(events)
        result = fold.result()
        (model,) = result.models
        assert (model.predictions, model.judged, model.correct) == (100, 63, 46)
        # A weak prediction yields to an event without a comparison: only feedback meets its like.
        assert (result.events.duplicates, result.events.superseded) == (63, 0)
        assert result.events.read == 363


def test_a_document_gives_its_prediction_and_its_feedback() -> None:
    said = reading()(
        document(
            source(
                response=response([0.1, 0.9], path={"clf": "image"}),
                feedback=feedback(reward=0, truth={"data": {"ndarray": [[1, 0]]}}),
            )
        )
    )
    prediction, judgement = said
    assert isinstance(prediction, Prediction)
    assert isinstance(judgement, Feedback)
    assert prediction.model == judgement.scope == ("ns", "dep", "canary", "clf")
    assert prediction.request_id == judgement.request_id == "r1"
    assert (prediction.provisional, prediction.source_rank, judgement.source_rank) == (
        True,
        DOCUMENT,
        DOCUMENT,
    )
    assert prediction.source_rank < EVENT
    assert prediction.time == parse_time(ANSWERED)
    assert judgement.time == parse_time(JUDGED)
    assert [answer.label for answer in prediction.answers] == ["b"]
    assert judgement.reward == 0


def test_the_node_is_that_of_the_path_if_it_is_just_one() -> None:
    def node(path: Any) -> str:
        (one,) = reading()(document(source(response=response([0.1, 0.9], path=path))))
        assert isinstance(one, Prediction)
        return one.model.model

    assert node({"clf": "image"}) == "clf"
    assert node({"clf": None}) == "clf"
    assert node({"clf": "image", "transformer": "image"}) == "last"
    odd: Any
    for odd in ({}, None, "clf", [1], 5):
        assert node(odd) == "last"
    text = json.dumps(source(response=response([0.5, 0.1], path={"clf": 1}))).encode()
    (one,) = reading()(document(text.replace(b"0.5", b"NaN")))
    assert isinstance(one, Prediction)
    assert one.model.model == "clf"
    assert one.answers[0].reason == "no_maximum"


def test_a_batch_is_decoded_once_from_any_of_its_documents() -> None:
    batch = source(response=response([0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]))
    telemetry = Telemetry()
    read = reading(telemetry=telemetry)
    said = [one for i in (3, 1, 0) for one in read(document(batch, f"r1-item-{i}"))]
    (one,) = said
    assert isinstance(one, Prediction)
    assert one.request_id == "r1"
    assert [answer.label for answer in one.answers] == ["b", "a", "a", "a"]
    assert telemetry.events["response"] == 1
    # The same request of another predictor, or a later answer, is another batch.
    assert len(read(document({**batch, "Ce-Endpoint": "main"}, "r1-item-2"))) == 1
    later = {**batch, "response": {**batch["response"], "ce-time": JUDGED}}
    assert len(read(document(later, "r1-item-2"))) == 1
    # A copy that is broken does not hide one that is not.
    read = reading()
    assert reasons(read(document({**batch, "response": {"payload": 5}}, "r1-item-0"))) != []
    assert len(read(document(batch, "r1-item-1"))) == 1


def test_feedback_alone_is_read() -> None:
    (one,) = reading()(document(source(feedback=feedback(reward=True))))
    assert isinstance(one, Feedback)
    assert one.scope == ("ns", "dep", "canary", "last")
    assert (one.reward, one.truth) == (1_000_000, None)
    telemetry = Telemetry()
    mute = document(source(feedback=feedback(truth={"meta": {}})))
    assert reading(telemetry=telemetry)(mute) == []
    assert telemetry.says_nothing == 1


def test_merged_feedback_is_read_as_it_stands() -> None:
    """The logger merges a second reward into the truth of the first feedback: that is all there is."""
    merged = feedback(reward=1, truth={"data": {"ndarray": [[0, 1]]}, "meta": {"tags": {}}})
    (one,) = reading()(document(source(feedback=merged)))
    assert isinstance(one, Feedback)
    assert one.reward == 1_000_000
    assert one.truth is not None


def test_a_request_alone_and_a_foreign_document_are_only_counted() -> None:
    telemetry = Telemetry()
    read = reading(telemetry=telemetry)
    assert read(document(source(request={"dataType": "tabular"}))) == []
    assert telemetry.events["request"] == 1
    for foreign in (source(), {}, {"response": None, "feedback": None}):
        assert read(document(foreign)) == []
    assert telemetry.events["other"] == 3


def test_failed_answers_and_explanations_are_only_counted() -> None:
    """Beside a feedback too, which is read all the same."""
    telemetry = Telemetry()
    read = reading(telemetry=telemetry)
    for payload in ({"error": "no model"}, {"explanations": [1]}, {"status": {"status": 1}}):
        answer = {"ce-time": ANSWERED, "payload": payload}
        (judged,) = read(document(source(response=answer, feedback=feedback(reward="0.9"))))
        assert isinstance(judged, Feedback)
        assert judged.reward == 900_000
    assert telemetry.events == {"failed": 2, "explanation": 1, "feedback": 3}


def test_the_zero_time_of_go_gives_way_to_the_time_of_the_document() -> None:
    zero = {**response([0.1, 0.9]), "ce-time": "0001-01-01T00:00:00Z"}
    (prediction,) = reading()(document(source(response=zero)))
    assert isinstance(prediction, Prediction)
    assert prediction.time == parse_time(JUDGED)


def test_what_a_page_of_documents_counted_is_restored() -> None:
    pages = [
        [document(source(response={"ce-time": ANSWERED, "payload": {"error": "x"}}))],
        [document({"outlier": {}}), document(source(response=response([0.1, 0.9])))],
    ]
    read, restored = (ReplayFold(ModelRules(), Selection()) for _ in range(2))
    for page in pages:
        restored.restore(read.fold_documents(page))
    events = restored.result().events
    assert (events.read, events.failed, events.other) == (3, 1, 1)
    assert restored.result() == read.result()


def test_excluded_models_are_left_out() -> None:
    rules = parse_rules({"models": [{"match": "ns/dep", "exclude": True}]}, "models.yaml")
    assert reading(rules)(document(source(response=response([0.1, 0.9])))) == []


def test_the_documents_time_stands_in_for_a_missing_one() -> None:
    part = response([0.1, 0.9])
    del part["ce-time"]
    (one,) = reading()(document(source(response=part)))
    assert isinstance(one, Prediction)
    assert one.time == parse_time(JUDGED)
    assert reasons(reading()(document({**source(response=part), "@timestamp": None}))) == [
        "bad_time"
    ]


def test_what_is_wrong_is_a_dead_letter_with_its_reason() -> None:
    good = response([0.1, 0.9])
    for changed, reason in (
        ({"response": good, "RequestId": None}, "no_id"),
        ({"response": good, "RequestId": ""}, "no_id"),
        ({"response": good, "RequestId": 5}, "bad_header"),
        ({"response": good, "RequestId": "\ud800"}, "bad_header"),
        ({"response": good, "RequestId": "r" * 600}, "bad_header"),
        ({"response": good, "Ce-Inferenceservicename": None}, "bad_header"),
        ({"response": good, "Ce-Namespace": ["x"]}, "bad_header"),
        ({"response": good, "Ce-Modelid": "a\nb"}, "bad_header"),
        ({"response": {**good, "ce-time": "yesterday"}}, "bad_time"),
        ({"response": {**good, "ce-time": 1795165439330}}, "bad_header"),
        ({"response": "text"}, "bad_shape"),
        ({"response": {"ce-time": ANSWERED}}, "bad_shape"),
        ({"response": {"ce-time": ANSWERED, "payload": [1]}}, "bad_shape"),
        ({"response": response([0.1, 0.9], strData="x")}, "two_containers"),
        ({"response": response(strData="\ud800")}, "bad_json"),
        ({"feedback": [1]}, "bad_shape"),
        ({"feedback": feedback(reward="one")}, "bad_reward"),
        ({"feedback": feedback(truth=[])}, "bad_shape"),
    ):
        assert reasons(reading()(document(source(**changed)))) == [reason], changed
    deep = b'{"response":' + b"[" * 5000 + b"]" * 5000 + b"}"
    for text in (b"", b"{", b"{,}", deep):
        assert reasons(reading()(document(text))) == ["bad_json"], text[:20]
    for text in (b"[]", b"null", b"1", b"\xff"):
        assert reasons(reading()(document(text))) == ["bad_shape"], text[:20]
    # One part does not take the other with it.
    for broken in ("text", {"payload": 5}, {"ce-time": 5}):
        both = reading()(document(source(response=broken, feedback=feedback(reward=1))))
        assert [type(one) for one in both] == [Feedback, DeadLetter]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
PART = st.fixed_dictionaries(
    {},
    optional={
        "ce-time": JSON | st.just(ANSWERED),
        "payload": JSON
        | st.fixed_dictionaries(
            {}, optional={"data": JSON, "meta": JSON | st.fixed_dictionaries({"requestPath": JSON})}
        ),
        "reward": JSON,
        "truth": JSON,
    },
)
SOURCE = st.fixed_dictionaries(
    {},
    optional={
        "RequestId": JSON | st.just("r1"),
        "Ce-Inferenceservicename": JSON | st.just("dep"),
        "Ce-Modelid": JSON,
        "@timestamp": JSON,
        "request": JSON,
        "response": JSON | PART,
        "feedback": JSON | PART,
    },
)


@given(SOURCE | JSON, st.text(max_size=12))
def test_nothing_in_a_document_is_an_exception(content: Any, name: str) -> None:
    read = reading()
    said = read(document(content, name))
    assert all(isinstance(one, Prediction | Feedback | DeadLetter) for one in said)
    if not isinstance(content, dict):
        assert reasons(said) == ["bad_shape"]


@pytest.mark.parametrize("truth", ["a", 1, ["a"], [[1, 0]], {"data": {"ndarray": ["a"]}}])
def test_a_plain_truth_is_logged_as_a_message_and_read_as_its_event(truth: Any) -> None:
    """An index takes one type for all truths."""
    headers = {
        "ce_type": b"io.seldon.serving.feedback",
        "ce_requestid": b"r1",
        "ce_namespace": b"ns",
        "ce_inferenceservicename": b"dep",
        "ce_time": JUDGED.encode(),
    }
    event = RawEvent(tuple(headers.items()), json.dumps({"truth": truth}).encode(), -1)
    (logged,) = read_logged(event)
    written = merge(None, [logged], 0)
    assert isinstance(written["feedback"]["truth"], dict)
    (found,) = Decoder(ModelRules(), Telemetry()).decode(*event).observations
    (read,) = reading()(document(written))
    assert isinstance(found, Feedback)
    assert read == found._replace(source_rank=DOCUMENT)
