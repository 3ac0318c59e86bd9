"""Documents read at speed say what the same documents say one by one."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.document_batches import DocumentBatches
from processor.domain.events.documents import Document, DocumentReader
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.domain.events.test_event_lines import AS_OF, RULES, outcome

TIMES = ["2026-11-20T09:03:59.3Z", "2026-11-20T09:03:59.9Z", "2026-11-20T10:04:00+01:00"]
ROWS: list[Any] = [[0.1, 0.7, 0.2], [0.7, 0.2, 0.1], [0, 1, 1]]
NAMES: list[Any] = [["a", "b", "c"], None]
ODD: list[Any] = [
    None,
    1,
    "x",
    [],
    {},
    ["a", 1],
    [[0.1, 0.9]],
    [[0.1, 0.9], [0.8, 0.2]],
    "yesterday",
]


def pick(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def data(draw: st.DrawFn) -> dict[str, Any]:
    return {"names": draw(pick(NAMES)), "ndarray": [draw(pick(ROWS))]}


@st.composite
def document(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Mostly common; else with a field gone, of another form, or unknown."""
    name = draw(pick(["id1", "id2", "id3"]))
    path = draw(pick([{"clf": "image"}, {"pre": "image", "clf": "image"}]))
    source: dict[str, Any] = {
        "RequestId": name,
        "Ce-Namespace": "ns",
        "Ce-Inferenceservicename": "dep",
        "Ce-Endpoint": "default",
        "Ce-Modelid": draw(pick(["clf", "pre"])),
        "@timestamp": draw(pick(TIMES)),
        "request": {"dataType": "tabular"},
        "response": {
            "ce-time": draw(pick(TIMES)),
            "payload": {"data": draw(data()), "meta": {"requestPath": path, "tags": {}}},
        },
    }
    feedback = draw(pick(["none", "none", "both", "both", "nothing"]))
    if feedback != "none":
        part: dict[str, Any] = {"ce-time": draw(pick(TIMES))}
        if feedback == "both":
            part["reward"] = draw(pick([0, 1, 2.5]))
            part["truth"] = draw(pick([{"data": {"ndarray": [ROWS[0]]}}, {"meta": {}}]))
        source["feedback"] = part
    if draw(st.integers(0, 7)) == 7:
        parts = [source, source["response"], source["response"]["payload"], source.get("feedback")]
        part = draw(pick([each for each in parts if each is not None]))
        key = draw(pick([*part, "unknown"]))
        if draw(st.booleans()):
            part.pop(key, None)
        else:
            part[key] = draw(pick(ODD))
    item = draw(pick(["", "", "", "", "", "-item-0"]))
    return name + item, source


Documents = list[tuple[str, dict[str, Any]]]


def made(documents: Documents, prefix: str) -> list[Document]:
    found = []
    for name, source in documents:
        text = json.dumps(source).replace('"id', f'"{prefix}')
        found.append(Document("index", name.replace("id", prefix), 1, text.encode()))
    return found


@given(st.lists(document(), min_size=6, max_size=12), pick([None, AS_OF]))
def test_batches_say_what_their_documents_say(documents: Documents, as_of: int | None) -> None:
    fast = ReplayFold(RULES, Selection(as_of=as_of))
    slow = ReplayFold(RULES, Selection(as_of=as_of))
    # Once more, of other requests, so that what was remembered is used.
    for prefix in ("id", "jd"):
        fast.add_documents(made(documents, prefix))
        for one in made(documents, prefix):
            reader = slow._documents._reader
            reader.invalidate()
            slow._documents = DocumentBatches(reader, slow.telemetry, as_of)
            slow.add_documents([one])
    assert outcome(fast) == outcome(slow)


@given(st.lists(document(), min_size=6, max_size=12))
def test_what_was_read_before_changes_nothing(documents: Documents) -> None:
    telemetries = Telemetry(), Telemetry()
    remembering, forgetting = (DocumentReader(RULES, telemetry) for telemetry in telemetries)
    for prefix in ("id", "jd"):
        for one in made(documents, prefix):
            forgetting.invalidate()
            assert remembering.read(one) == forgetting.read(one)
    assert telemetries[0] == telemetries[1]


def test_documents_that_differ_in_one_thing_are_told_apart() -> None:
    documents: Documents = []
    for number, (reward, path) in enumerate([(0, "a"), (1, "a"), (2.5, "a"), (1, "b")]):
        payload = {"data": {"ndarray": [ROWS[0]]}, "meta": {"requestPath": {path: "image"}}}
        source = {
            "RequestId": f"id{number}",
            "Ce-Namespace": "ns",
            "Ce-Inferenceservicename": "dep",
            "Ce-Endpoint": "default",
            "Ce-Modelid": "clf",
            "response": {"ce-time": TIMES[0], "payload": payload},
            "feedback": {
                "ce-time": TIMES[1],
                "reward": reward,
                "truth": {"data": {"ndarray": [ROWS[0]]}},
            },
        }
        documents.append((f"id{number}", source))
    fold = ReplayFold(RULES, Selection())
    for prefix in ("id", "jd"):
        fold.add_documents(made(documents, prefix))
    found = [(each.model, each.predictions, each.reward_sum) for each in fold.result().models]
    assert found == [("a", 6, 7.0), ("b", 2, 2.0)]
