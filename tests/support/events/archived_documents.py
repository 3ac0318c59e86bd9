"""Documents of an archive as a strategy: mostly common, some with a field gone or of another form."""

import json
from typing import Any

from hypothesis import strategies as st

from processor.domain.events.documents import Document

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
