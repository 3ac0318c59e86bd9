"""Lines read at speed say what the same lines say one by one."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.event_lines import LineReader
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from tests.support.events.line_outcomes import AS_OF, RULES, outcome

#: What a header can be, the common ones first.
HEADERS: dict[str, tuple[object, ...]] = {
    "ce-type": (
        "io.seldon.serving.inference.response",
        "io.seldon.serving.feedback",
        "io.seldon.serving.inference.request",
        "org.kubeflow.serving.inference.response",
        "com.example.other",
        "",
    ),
    "ce-namespace": ("ns", "other", ""),
    "ce-inferenceservicename": ("dep", "", "x" * 300),
    "ce-endpoint": ("default", "canary", ""),
    "ce-modelid": ("clf", "hidden", ""),
    "ce-requestid": ("id1", "id2", "id3", "", "é" * 100, "é" * 300),
    "ce-time": (
        "2026-11-20T09:03:59.330716836Z",
        "2026-11-20T09:03:59.9Z",
        "2026-11-20T09:03:59Z",
        "2026-11-20T10:03:59.25+01:00",
        "yesterday",
        "",
    ),
    "seldon-puid": ("r4", ""),
    "Ce-Type": ("io.seldon.serving.feedback",),
    "ce_requestid": ("r5",),
    "content-type": ("application/json", "text/plain"),
    "ce-id": (1,),
    "content-encoding": ("gzip", "identity", "br"),
    "ce-component": ("one", "two"),
    "traceparent": ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    "é": ("x",),
    "a b": ("x",),
    "accept": ("x",),
}
COMMON = list(HEADERS)[:7]

ROWS = st.sampled_from(
    [
        "[0.1,0.7,0.2]", "[0.2,0.7,0.1]", "[0.5,0.5]", "[1,0,0]", "[1,1,0]", "[0.1,true,0.2]",
        "[0.1,NaN]", "[1e400,0.1]", "[9007199254740993,9007199254740992]", "[[0.1,0.9]]", "[0.7]",
        '["cat"]', '"cat"', "1", "1.0", "true", "0.4", "2.5", "null", "[]", "{}", '"\\ud800"',
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    ['"names":["a","b","c"],', '"names":["a","b"],', '"names":[],', '"names":null,', "",
     '"names":["a",1],', '"names":{},']
)  # fmt: skip
OTHER = st.sampled_from(["", ',"meta":{"tags":{"x":1}}', ',"strData":"x"', ',"more":1'])


@st.composite
def data(draw: st.DrawFn) -> str:
    rows = draw(st.lists(ROWS, min_size=1, max_size=2))
    tail = draw(st.sampled_from(["", "", "", ',"tensor":null', ',"tensor":{}']))
    return f'{{{draw(NAMES)}"ndarray":[{",".join(rows)}]{tail}}}'


@st.composite
def body(draw: st.DrawFn) -> str:
    reward = draw(st.sampled_from(["", '"reward":1,', '"reward":0.5,', '"reward":true,',
                                   '"reward":"1",', '"reward":null,', '"reward":2e9,']))  # fmt: skip
    other = draw(OTHER)
    truth = draw(st.sampled_from(["null", "{}", '{"meta":{}}', '{"data":null}', "data"]))
    if truth == "data":
        truth = f'{{"data":{draw(data())}{draw(OTHER)}}}'
    response = f'{{{reward}"data":{draw(data())}{other}}}'
    feedback = f'{{{reward}"truth":{truth}{other}}}'
    both = f'{{"data":{draw(data())},"truth":{truth}}}'
    return draw(st.sampled_from([response, response, feedback, feedback, both, "{}", "[]", '"x"']))


@st.composite
def usual_line(draw: st.DrawFn) -> bytes:
    """Of few kinds, so that most say again what another said."""
    headers = {name: HEADERS[name][0] for name in COMMON}
    kind = draw(st.sampled_from([HEADERS["ce-type"][at] for at in (0, 0, 1, 1, 1, 2)]))
    headers["ce-type"] = kind
    headers["ce-requestid"] = draw(st.sampled_from(HEADERS["ce-requestid"][:3]))
    headers["ce-time"] = draw(st.sampled_from(HEADERS["ce-time"][:4]))
    names = draw(st.sampled_from(['"names":["a","b","c"],', '"names":["x","y","z"],', ""]))
    row = draw(st.sampled_from(["[0.1,0.7,0.2]", "[0.2,0.7,0.1]", "[0,1,0]", "[0,1,1]"]))
    said = f'"data":{{{names}"ndarray":[{row}]}}'
    reward = draw(st.sampled_from(['"reward":1', '"reward":0', '"reward":-1.5']))
    content = {
        "io.seldon.serving.inference.response": said,
        "io.seldon.serving.feedback": draw(
            st.sampled_from([reward, f'{reward},"truth":{{{said}}}', f"{reward},{said}"])
        ),
    }.get(str(kind), said)
    return f'{{"headers":{json.dumps(headers)},"data":{{{content}}}}}'.encode()


@st.composite
def odd_line(draw: st.DrawFn) -> bytes:
    headers = {name: HEADERS[name][0] for name in COMMON}
    headers["ce-type"] = draw(st.sampled_from(HEADERS["ce-type"][:2]))
    headers["ce-requestid"] = draw(st.sampled_from(HEADERS["ce-requestid"][:3]))
    for name in draw(st.lists(st.sampled_from(list(HEADERS)), max_size=2)):
        headers[name] = draw(st.sampled_from(HEADERS[name]))
    for name in draw(st.lists(st.sampled_from(COMMON), max_size=1)):
        del headers[name]
    escaped = draw(st.booleans())
    whole = f'{{"headers":{json.dumps(headers, ensure_ascii=escaped)},"data":{draw(body())}}}'
    text = whole.encode()
    odd = draw(st.integers(0, 30))
    if odd == 0:
        return text[: len(text) // 2]
    if odd == 1:
        return text.replace(b"ns", b"\xff\xfe")
    return b"" if odd == 2 else b" " if odd == 3 else text


LINE = st.one_of(usual_line(), usual_line(), usual_line(), odd_line())


def one_by_one(lines: Sequence[bytes], as_of: int | None) -> ReplayFold:
    """Each line through a reader that remembers nothing."""
    fold = ReplayFold(RULES, Selection(as_of=as_of))
    for number, text in enumerate(lines, 1):
        fold._lines = LineReader(fold._decoder, as_of)
        fold.add_lines(text + b"\n", number)
    return fold


@given(st.lists(LINE, min_size=1, max_size=16), st.sampled_from([None, AS_OF]), st.booleans())
def test_blocks_say_what_their_lines_say(
    lines: list[bytes], as_of: int | None, ended: bool
) -> None:
    fold = ReplayFold(RULES, Selection(as_of=as_of))
    bad = fold.add_lines(b"\n".join(lines) + b"\n", 1)
    # Once more, of other requests, so that what was remembered is used.
    again = [text.replace(b'"id', b'"jd') for text in lines]
    bad += fold.add_lines(b"\n".join(again) + b"\n" * ended, len(lines) + 1)
    slow = one_by_one([*lines, *again], as_of)
    found, wanted = outcome(fold), outcome(slow)
    assert found == wanted
    assert [each.number for each in bad] == sorted(each.number for each in bad)
    assert len(bad) % 2 == 0


WRAPPED = {
    "ce-type": "dev.knative.kafka.event",
    "ce-kafkaheadertype": "io.seldon.serving.inference.response",
    "ce-kafkaheaderinferenceservicename": "dep",
    "ce-kafkaheadermodelid": "wrapped",
    "ce-kafkaheaderrequestid": "id4",
}


@pytest.mark.parametrize("ascii_alone", [False, True])
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"é": "x"}, "bad_header"),
        ({"a b": "x"}, "bad_header"),
        ({"content-encoding": "br"}, None),
        ({"accept": "x"}, None),
        ({"ce-modelid": "", "ce-component": "other"}, None),
        ({"ce-modelid": "", "ce-component": "another"}, None),
        # Of a Kafka record that is no event by itself: what counts is in others.
        (WRAPPED | {"ce-kafkaheadermodelid": "another"}, None),
    ],
)
def test_a_header_that_lines_before_did_not_have_counts(
    header: dict[str, str], reason: str | None, ascii_alone: bool
) -> None:
    """Though all that such a line says elsewhere was remembered."""
    common = {name: str(HEADERS[name][0]) for name in COMMON}
    body = {"data": {"names": ["a", "b"], "ndarray": [[0.2, 0.8]]}}
    lines = [
        json.dumps({"headers": headers, "data": body}, ensure_ascii=ascii_alone).encode()
        for headers in (
            common,
            common | {"ce-modelid": "", "ce-component": "first", "ce-requestid": "id3"},
            common | WRAPPED,
            common | header | {"ce-requestid": "id2"},
        )
    ]
    fold = ReplayFold(RULES, Selection())
    dead_letters = [each for n, text in enumerate(lines, 1) for each in fold.add_lines(text, n)]
    assert [each.letter.reason for each in dead_letters] == ([reason] if reason else [])
    assert outcome(fold) == outcome(one_by_one(lines, None))


def test_what_was_remembered_is_forgotten_before_it_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("processor.domain.events.event_lines._MAX_CONTENTS", 5)
    headers = {name: HEADERS[name][0] for name in COMMON}
    lines = []
    for number in range(100):
        headers["ce-requestid"] = f"r{number}"
        body = {"data": {"ndarray": [f"label {number}"]}}
        lines.append(json.dumps({"headers": headers, "data": body}).encode())
    fold = ReplayFold(RULES, Selection())
    for start in range(0, 100, 10):
        fold.add_lines(b"\n".join(lines[start : start + 10]), start)
        assert fold._lines._contents <= 10
    (model,) = fold.result().models
    assert model.predictions == 100
