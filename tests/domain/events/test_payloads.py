"""Bodies of responses and feedback, and input that means harm."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.events.payloads.json_bodies import _Message
from processor.domain.events.payloads.rows import MAX_ROWS
from processor.domain.events.payloads.whole_bodies import uncounted
from processor.domain.events.raw_event import REASONS, DeadLetter
from processor.domain.join.judge import judge
from processor.domain.log.observations import BatchBuilder, Feedback, ObservationBatch, Prediction
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.values import INTEGER, NUMBER, SCORES, TEXT, UNSCORABLE, Reading
from processor.telemetry import Telemetry
from tests.support.domain.decoding import meaning
from tests.support.events.one_event import FEEDBACK, RESPONSE, headers, label, reason, see


def tensor(shape: object, values: object) -> dict[str, Any]:
    return {"data": {"tensor": {"shape": shape, "values": values}}}


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        ({"data": {"ndarray": [[0.1, 0.9], [0.8, 0.2]]}}, "1 0"),  # 3
        ({"data": {"ndarray": [1, [2], [[3]]]}}, "1 2 3"),
        ({"data": {"ndarray": ["a", None, {}]}}, "a !shape !shape"),
        ({"data": {"names": ["a", "b"], "ndarray": [[0, 1], [1, 0]]}}, "b a"),
        ({"data": {"names": [], "ndarray": [[0, 1]]}}, "1"),
        ({"data": {"names": None, "ndarray": [[0, 1]]}}, "1"),
        ({"data": {"names": ["a"], "ndarray": [[0, 1]]}}, "1"),
        ({"data": {"names": "ab", "ndarray": [[0, 1]]}}, "!bad_shape"),
        ({"data": {"names": ["a", 1], "ndarray": [[0, 1]]}}, "1"),
        ({"data": {"ndarray": []}}, "!bad_shape"),
        ({"data": {"ndarray": 1}}, "!bad_shape"),
        ({"data": {"ndarray": [1], "other": 1}, "meta": {}}, "1"),
        (tensor([2, 2], [0.1, 0.9, 0.8, 0.2]), "1 0"),
        (tensor([4], [0, 1, 2, 3]), "0 1 2 3"),
        (tensor([1, 4], [0, 1, 2, 3]), "3"),
        (tensor([2, 1], [7, 8]), "7 8"),
        (tensor([2, 1, 2], [0, 1, 1, 0]), "1 0"),
        (tensor([1, 2, 2], [0, 1, 1, 0]), "!shape"),
        (tensor([1, 2], [0.5, "NaN"]), "!no_maximum"),
        (tensor([1, 2], ["-Infinity", 0.5]), "!no_maximum"),
        (tensor([2, 2], [1, 2, 3]), "!bad_shape"),
        (tensor([], [1]), "!bad_shape"),
        (tensor([0], []), "!bad_shape"),
        (tensor([2, 0], []), "!bad_shape"),
        (tensor([-1, -1], [1]), "!bad_shape"),
        (tensor([True], [1]), "!bad_shape"),
        (tensor([1.0], [1]), "!bad_shape"),
        (tensor(1, [1]), "!bad_shape"),
        (tensor([1], {"0": 1}), "!bad_shape"),
        ({"data": {"tensor": [1]}}, "!bad_shape"),
        ({"data": {"tftensor": {}}}, "!bad_shape"),
        ({"strData": "cat"}, "cat"),  # 5
        ({"strData": ""}, "(empty)"),
        ({"strData": 7}, "!bad_shape"),
        ({"jsonData": 7}, "7"),
        ({"jsonData": "dog"}, "dog"),
        ({"jsonData": [[0.1, 0.9], 5]}, "1 5"),
        ({"jsonData": []}, "!bad_shape"),
        ({"jsonData": {"label": "cat"}}, "cat"),
        ({"jsonData": None}, "!shape"),
        ({"binData": "AAAA"}, "!shape"),
        ({"data": {}}, "!bad_shape"),
        ({"data": [1]}, "!bad_shape"),
        ({}, "!bad_shape"),
        ([1], "!bad_shape"),
        ("cat", "!bad_shape"),
        ({"data": {"ndarray": [1], "tensor": {"shape": [1], "values": [1]}}}, "!two_containers"),
        ({"data": {"ndarray": [1]}, "strData": "a"}, "!two_containers"),
        ({"jsonData": None, "strData": "a"}, "!two_containers"),
        ({"data": {"ndarray": [1] * (MAX_ROWS + 1)}}, "!too_large"),
        (b"", "!bad_json"),
        (b"{not json", "!bad_json"),
        (b'{"strData": "a"} {}', "!bad_json"),
        (b"\xff\xfe", "!bad_json"),
        (b'{"jsonData": ' + b"[" * 100_000, "!bad_json"),
        (b'{"data": {"ndarray": [[0.1, NaN], [Infinity, 1], [0.9, 0.1]]}}', "!no_maximum !no_maximum 0"),
        (b'{"data": {"ndarray": [NaN, -Infinity]}}', "!no_maximum !no_maximum"),
        (b'{"data": {"ndarray": [[0.1, 1e999], 1e999]}}', "!no_maximum !no_maximum"),
        (b'{"data": {"ndarray": [9007199254740993, 1e400]}}', "!out_of_range !no_maximum"),
        (b'{"jsonData": ' + b"9" * 400 + b"}", "!out_of_range"),
        (b'{"strData": "\\ud800"}', "!bad_json"),
    ],
)  # fmt: skip
def test_responses(body: object, labels: str) -> None:
    """Rules 3 to 5 and 10."""
    assert label(body) == labels


_MEMBERS = {one.encode_name for one in msgspec.structs.fields(_Message)}


@pytest.mark.parametrize("member", sorted(_MEMBERS - {"data", "parameters", "status"}))
def test_every_container_is_data(member: str) -> None:
    """Beside an error too, and none is overlooked beside another (rules 5 and 23)."""
    assert uncounted(b'{"error":"late","%b":[1]}' % member.encode()) is None
    both = label({"data": {"ndarray": [[0.1, 0.9]]}, member: [1]})
    assert both == ("1" if member in ("result", "results") else "!two_containers")


@pytest.mark.parametrize(
    ("body", "truth", "reward"),
    [
        ({"reward": 1}, None, 1_000_000),  # 7
        ({"reward": True}, None, 1_000_000),
        ({"reward": False}, None, 0),
        ({"reward": -0.0}, None, 0),
        ({"reward": 1e6}, None, 10**12),
        ({"reward": -1_000_000}, None, -(10**12)),
        ({"reward": 0.1}, None, 100_000),
        ({"reward": 0.0000005}, None, 0),  # half to even
        ({"reward": 0.0000015}, None, 2),
        ({"reward": 0.0000025}, None, 2),
        ({"reward": 1e-300}, None, 0),
        ({"truth": {"data": {"ndarray": ["a"]}}}, [Reading(TEXT, "a")], None),
        ({"truth": {"data": {"ndarray": ["a"]}}, "reward": 1}, [Reading(TEXT, "a")], 1_000_000),
        ({"truth": {"data": {"ndarray": [[0, 1]]}}}, [Reading(SCORES, 1, 2)], None),
        ({"truth": {"data": {"names": ["a", "b"], "ndarray": [[0, 1]]}}}, [Reading(TEXT, "b")], None),
        ({"truth": tensor([2, 1], [1, 2])}, [Reading(INTEGER, 1), Reading(INTEGER, 2)], None),
        ({"truth": {"strData": "a"}}, [Reading(TEXT, "a")], None),
        ({"truth": {"jsonData": None}}, [Reading(UNSCORABLE, "withdrawn")], None),
        ({"truth": {"data": {}, "meta": {}}, "reward": 0}, None, 0),
        ({"truth": None, "reward": 0}, None, 0),
        ({"truth": "cat"}, [Reading(TEXT, "cat")], None),
        ({"truth": 2, "reward": 0}, [Reading(INTEGER, 2)], 0),
        ({"truth": True}, [Reading(INTEGER, 1)], None),
        ({"truth": 2.5}, [Reading(NUMBER, None)], None),
        ({"truth": ["cat", 2]}, [Reading(TEXT, "cat"), Reading(INTEGER, 2)], None),
        ({"truth": [[0, 1]]}, [Reading(SCORES, 1, 2)], None),
        ({"truth": [None, "cat"]}, [Reading(UNSCORABLE, "withdrawn"), Reading(TEXT, "cat")], None),
        ({"truth": [{"label": "cat"}]}, [Reading(TEXT, "cat")], None),
    ],
)  # fmt: skip
def test_feedback(body: object, truth: list[Reading] | None, reward: int | None) -> None:
    """Rules 4 to 8."""
    seen = see(body, ce_type=FEEDBACK)
    assert isinstance(seen, Feedback)
    assert (None if seen.truth is None else list(seen.truth)) == truth
    assert seen.reward == reward
    assert seen.scope.predictor == "default"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reward": "one"}, "bad_reward"),
        ({"reward": [1]}, "bad_reward"),
        ({"reward": {}}, "bad_reward"),
        ({"reward": 1_000_001}, "bad_reward"),
        ({"reward": -1000000.1}, "bad_reward"),
        (b'{"reward": NaN}', "bad_reward"),
        (b'{"reward": -Infinity}', "bad_reward"),
        (b'{"reward": 1e400}', "bad_reward"),
        ({"reward": 1, "truth": {"data": {"ndarray": []}}}, "bad_shape"),
        ({"reward": 1, "truth": []}, "bad_shape"),
        ({"truth": {"data": 3}}, "bad_shape"),
        ({"truth": {"data": {"ndarray": [1], "tensor": {}}}}, "two_containers"),  # 10
        ([1], "bad_shape"),
        (b"", "bad_json"),
    ],
)
def test_feedback_that_cannot_be_read(body: object, expected: str) -> None:
    """Rules 7 and 10."""
    assert reason(body, ce_type=FEEDBACK) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"truth": {"data": 3}}, "truth.data is a number, and must be an object"),
        ([1], "the JSON is a list, and must be an object"),
        ("cat", "the JSON is a text, and must be an object"),
        ({"truth": {"data": {"ndarray": 1}}}, "ndarray is not a list"),
    ],
)
def test_a_wrong_type_is_named_in_plain_words(body: object, expected: str) -> None:
    found = meaning(
        Decoder(ModelRules(), Telemetry()).decode(
            headers({"ce_type": FEEDBACK}), json.dumps(body).encode(), -1
        )
    )
    assert found == DeadLetter("bad_shape", expected)


def test_feedback_that_names_nobody() -> None:
    """Rule 11."""
    seen = see({"reward": 1}, ce_type=FEEDBACK, ce_endpoint=None, ce_modelid=None)
    assert isinstance(seen, Feedback)
    assert seen.scope == ("seldon", "iris", "", "")


def test_what_is_counted() -> None:
    """Rules 5 and 9: by kind, by reason, and what says nothing."""
    file = {"models": [{"match": "seldon/iris/shadow", "exclude": True}]}
    decoder = Decoder(parse_rules(file, "file"), Telemetry())

    def read(kind: str, body: object, **change: Any) -> object:
        named = headers({"ce_type": kind}, **change)
        return meaning(decoder.decode(named, json.dumps(body).encode(), -1))

    assert read(FEEDBACK, {}) is None
    assert read(FEEDBACK, {"truth": {"meta": {}}, "reward": None}) is None
    assert read(RESPONSE, {}, ce_endpoint="shadow") is None
    read(RESPONSE, {"data": {"ndarray": [1.5, None, 2, 2.5]}})
    read(FEEDBACK, {"truth": {"data": {"ndarray": [1.5, 1]}}})
    read(RESPONSE, {})
    read(FEEDBACK, {"reward": "x"})
    telemetry = decoder.telemetry
    assert +telemetry.events == {"response": 2, "feedback": 3, "unreadable": 2}
    assert telemetry.says_nothing == 2
    assert telemetry.not_scorable == {"shape": 1}
    assert telemetry.dead_letters == {"bad_shape": 1, "bad_reward": 1}


def digest_of(body: object, **change: Any) -> int:
    seen = see(body, **change)
    assert isinstance(seen, Prediction | Feedback)
    return seen.digest


def test_equal_content_has_one_digest() -> None:
    """Rule 12: of what is decoded: neither the container nor the way a number is written."""
    one = {"data": {"names": ["a", "b"], "ndarray": [[0.1, 0.9]]}}
    assert digest_of(one) == digest_of(one, ce_time="2026-11-20T10:00:00Z", ce_id="2")
    assert digest_of({"jsonData": 1}) == digest_of(tensor([1, 1], [1.0]))
    others = [
        digest_of(body)
        for body in (one, {"strData": "b"}, {"jsonData": ["b", "b"]}, {"jsonData": 1}, {"strData": "1"})
    ]  # fmt: skip
    swapped = {"data": {"names": ["b", "a"], "ndarray": [[0.9, 0.1]]}}
    assert len({*others, digest_of(swapped)}) == 6
    said: list[Any] = [{"reward": 1}, {"reward": 0}, {"truth": {"strData": "a"}}]
    said += [
        {**said[2], "reward": 1},
        {**said[2], "reward": 0},
        {"truth": {"jsonData": ["a", "a"]}},
    ]
    plain, listed = {"truth": "a"}, {"truth": ["a", "a"]}
    assert digest_of(plain, ce_type=FEEDBACK) == digest_of(said[2], ce_type=FEEDBACK)
    assert digest_of(listed, ce_type=FEEDBACK) == digest_of(said[5], ce_type=FEEDBACK)
    assert len({digest_of(body, ce_type=FEEDBACK) for body in said}) == len(said)


# Input that means harm

texts = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "NaN", "1", ""])
numbers = st.integers() | st.floats() | st.sampled_from([10**400, 2**53, 2**64, -0.0])
leaves = st.none() | st.booleans() | numbers | texts
names = ["data", "ndarray", "tensor", "names", "shape", "values", "truth", "reward", "strData"]
names += ["jsonData", "binData", "tftensor", "meta"]
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(names) | texts, inner, max_size=4)
    ),
    max_leaves=12,
)
data = st.fixed_dictionaries({}, optional=dict.fromkeys(names, trees))
messages = st.fixed_dictionaries(
    {}, optional={"data": data, "truth": st.fixed_dictionaries({"data": data}), "reward": leaves}
)
attributes = ["type", "id", "time", "requestid", "namespace", "inferenceservicename", "endpoint"]
header_names = st.sampled_from([f"ce_{name}" for name in attributes] + ["content-type", "Ce_Type"])
header_values = st.binary(max_size=20) | st.sampled_from(
    [RESPONSE.encode(), FEEDBACK.encode(), b"application/cloudevents+json", b"2026-11-20T09:00:00Z"]
)
structured = st.dictionaries(
    st.sampled_from([*attributes, "data", "data_base64"]), trees | st.just(RESPONSE), max_size=8
)
bodies = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda tree: json.dumps(tree).encode(), trees | data | messages | structured),
    st.builds(
        lambda tree, at, junk: json.dumps(tree).encode()[:at] + junk,
        messages,
        st.integers(0, 60),
        st.binary(max_size=3),
    ),
)
event_headers = st.one_of(
    st.lists(st.tuples(header_names, header_values), max_size=8),
    st.builds(lambda kind: headers({"ce_type": kind}), st.sampled_from([RESPONSE, FEEDBACK])),
    st.just([("content-type", b"application/cloudevents+json")]),
)
outputs = st.sampled_from([None, "scores", "probability", "label"])


@given(st.lists(st.tuples(event_headers, bodies | st.none()), min_size=1, max_size=5), outputs)
def test_nothing_can_break_it(
    events: list[tuple[list[tuple[str, bytes]], bytes | None]], output: str | None
) -> None:
    """An observation, a dead letter with a known reason or nothing; and it fits on the log."""
    file = {"models": [{"match": "*/*", "output": output}]}
    decoder = Decoder(parse_rules(file, "file") if output else ModelRules(), Telemetry())
    builder = BatchBuilder()
    dead_letters = 0
    answers = []
    for named, value in events:
        seen = meaning(decoder.decode(named, value, 0))
        if isinstance(seen, DeadLetter):
            dead_letters += 1
            assert seen.reason in REASONS
            assert not seen.detail.endswith(" while decoding"), seen  # a defect
            seen.detail.encode("utf-8", "replace")
        elif seen is not None:
            builder.add(seen)
            if isinstance(seen, Prediction):
                answers.append(seen.answers)
            elif seen.truth is not None:
                for one in answers:
                    judge(one, seen.truth, seen.reward)
    batch = builder.build("epoch")
    record = decode_observation(encode(batch))
    assert isinstance(record, ObservationBatch)
    assert encode(record) == encode(batch)
    assert sum(decoder.telemetry.events.values()) == len(events)
    assert decoder.telemetry.events["unreadable"] == dead_letters
