"""The tables of requests behave like a dict, in Python and natively, and so does the request store."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.domain.join.request_store import RequestStore
from processor.domain.join.requests.codec import RequestCodec, first_seen_hour
from processor.domain.join.requests.ids import pack_id, packed_length, unpack_id
from processor.domain.join.requests.python_table import (
    MAX_BUCKET,
    MAX_RECORD,
    PythonRequestTable,
    TableOutline,
)
from processor.domain.join.requests.request import FeedbackRegister, PredictionRegister, Request
from processor.domain.join.requests.table import RequestTable
from processor.domain.join.state import JoinState
from processor.domain.native import native, use_native
from processor.domain.values import TEXT, Answer, Reading, Schema, content_digest, digest

ANSWERS = [Answer(label, None, TEXT, Schema()) for label in "wxyz"]
TRUTHS = [Reading(TEXT, label) for label in "wxyz"]

Kind = Callable[[list[TableOutline]], RequestTable]
KINDS: list[Kind] = [PythonRequestTable, *([native.RequestTable] if use_native else [])]

values = st.sampled_from([b"\0" * 7 + b"\1", b"\1" * 8, bytes(64)])


@st.composite
def items(draw: st.DrawFn) -> tuple[int | list[int], bytes | list[bytes] | None]:
    """The positions of a register's items, and their values."""
    position = st.integers(0, 3)
    if draw(st.booleans()):
        return draw(position), draw(st.one_of(st.none(), values))
    several = draw(st.lists(position, min_size=2, max_size=20))
    if draw(st.booleans()):
        return several, None
    each = st.one_of(st.just(b""), values)
    return several, draw(st.lists(each, min_size=len(several), max_size=len(several)))


@st.composite
def predictions(draw: st.DrawFn) -> PredictionRegister:
    answers, packed = draw(items())
    digests = [st.integers(0, 2**64 - 1)]
    if isinstance(answers, int) and packed is None:
        digests.append(st.just(content_digest(ANSWERS[answers])))
    return PredictionRegister(
        draw(st.integers(0, 200)), draw(st.integers(0, 2**62)), draw(st.integers(0, 5)),
        draw(st.one_of(digests)), answers, draw(st.booleans()), draw(st.booleans()), packed,
    )  # fmt: skip


@st.composite
def feedbacks(draw: st.DrawFn) -> FeedbackRegister:
    truth, packed = draw(st.one_of(st.just((None, None)), items()))
    reward = draw(st.one_of(st.none(), st.integers(-(10**12), 10**12)))
    digests = [st.integers(0, 2**64 - 1)]
    if isinstance(truth, int) and packed is None:
        digests.append(st.just(digest((TRUTHS[truth],), reward)))
    return FeedbackRegister(
        draw(st.integers(0, 200)), draw(st.integers(-5, 2**62)), draw(st.integers(0, 1)),
        draw(st.one_of(digests)), truth, reward, packed,
    )  # fmt: skip


requests = st.builds(
    Request,
    st.integers(0, 5),
    st.lists(predictions(), max_size=3),
    st.lists(feedbacks(), max_size=3),
).filter(lambda request: bool(request.predictions or request.feedbacks))

names = st.one_of(
    st.integers(0, 300).map(lambda number: str(UUID(int=number))),
    st.integers(0, 40).map(str),
    st.sampled_from(["", "r1", "req-" + str(UUID(int=1)), "x" * 64, "x" * 65, "é" * 40]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, requests),
        st.tuples(st.just("remove"), names, requests),
        st.tuples(st.just("expire"), st.integers(0, 5), st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
    ),
    max_size=60,
)


def _restarted(table: RequestTable, kind: Kind) -> RequestTable:
    """A table from the outline and the buckets of another."""
    table.begin_copy()
    again = kind(table.outline())
    while (copied := table.copy(3)) is not None:
        again.fill(*copied)
    return again


def _content(table: RequestTable) -> dict[str, bytes]:
    found = [one for part in range(table.parts(0)) for one in table.part(0, part)]
    assert len(found) == len({name for name, _ in found}) == len(table)
    return dict(found)


@pytest.mark.parametrize("kind", KINDS)
@given(steps)
def test_the_table_is_a_dict(
    kind: Kind, course: list[tuple[str, str | int | None, Request | None]]
) -> None:
    codec = RequestCodec(ANSWERS, TRUTHS)
    table, model = kind([]), dict[str, bytes]()
    table.add_deployment()
    for step, name, request in course:
        if step == "restart":
            table = _restarted(table, KINDS[len(model) % len(KINDS)])
        elif isinstance(name, int):
            old = [key for key, one in model.items() if first_seen_hour(one) < name]
            gone = [codec.unpack(model.pop(key)) for key in old]
            assert table.expire(name) == (
                len(gone),
                sum(not one.feedbacks for one in gone),
                sum(not one.predictions for one in gone),
            )
        elif isinstance(name, str) and request is not None:
            if step == "put":
                if name in model:  # the hour of a request never changes
                    request.first_seen_hour = first_seen_hour(model[name])
                model[name] = codec.pack(request)
                assert codec.unpack(model[name]) == request
                table.put(0, name, model[name])
            elif model.pop(name, None):
                table.remove(0, name)
        assert len(table) == len(model)
    assert _content(table) == model
    assert all(table.get(0, name) == one for name, one in model.items())
    assert table.get(0, "missing") is None
    assert table.oldest() == min(map(first_seen_hour, model.values()), default=None)
    unmatched = {name for name, one in model.items() if not codec.unpack(one).predictions}
    assert set(table.unmatched()) == {(0, name) for name in unmatched}
    _check_positions(table, codec)


def _check_positions(table: RequestTable, codec: RequestCodec) -> None:
    """All positions can be replaced, by larger ones too."""
    before = {name: codec.unpack(one) for name, one in _content(table).items()}
    models, answers, truths, deployments = table.used()
    registers = [one for request in before.values() for one in request.predictions]
    assert models >= {one.model for one in registers}
    assert deployments == ({0} if before else set())
    if not before:
        return
    far = {model: model + 1000 for model in models}
    same_answers, same_truths = ({one: one for one in same} for same in (answers, truths))
    table.renumber(far, same_answers, same_truths, {0: 0})
    for name, packed in _content(table).items():
        after, request = codec.unpack(packed), before[name]
        for prediction in request.predictions:
            prediction.model += 1000
        for feedback in request.feedbacks:
            feedback.scope += 1000
        assert after == request


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_grows_by_a_bucket_at_a_time(kind: Kind) -> None:
    codec, table = RequestCodec(ANSWERS, TRUTHS), kind([])
    table.add_deployment()
    for number in range(5000):
        register = PredictionRegister(0, number, 1, content_digest(ANSWERS[0]), 0, False)
        table.put(0, str(UUID(int=number)), codec.pack(Request(7, [register], [])))
    assert len(table) == 5000
    assert max(len(table.part(0, part)) for part in range(table.parts(0))) < 100
    for number in range(5000):
        packed = table.get(0, str(UUID(int=number)))
        assert packed is not None
        assert codec.unpack(packed).predictions[0].time == number
    assert table.get(0, str(UUID(int=5000))) is None
    # A record is 36 bytes.
    assert 5000 * 36 < table.approx_bytes() < 5000 * 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_bucket_takes_no_more(kind: Kind) -> None:
    """Large requests stand beside the buckets, so that they do not make every search long."""
    codec, table = RequestCodec(ANSWERS, TRUTHS), kind([])
    table.add_deployment()
    small = Request(7, [PredictionRegister(0, 1, 1, 1, [1] * 900, False)], [])
    large = Request(7, [PredictionRegister(0, 1, 1, 1, [1] * MAX_RECORD, False)], [])
    for number in range(3):
        table.put(0, f"large-{number}", codec.pack(large))
        table.put(0, f"small-{number}", codec.pack(small))
    ((_, others),) = table.outline()
    assert [name for name, _ in others] == [f"large-{number}" for number in range(3)]
    table.put(0, "large-0", codec.pack(small))
    table.put(0, "small-0", codec.pack(large))
    ((_, others),) = table.outline()
    assert [name for name, _ in others] == ["large-1", "large-2", "small-0"]
    assert table.get(0, "large-0") == codec.pack(small)
    # As many ids as it takes to fill one of two buckets.
    for number in range(3, 32):
        table.put(0, f"small-{number}", codec.pack(small))
    buckets = [sum(len(one) for _, one in table.part(0, part)) for part in range(1, table.parts(0))]
    assert max(buckets) <= MAX_BUCKET
    assert len(table) == 35


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"\0\0\0", b"\5\0\1r", b"\6\0\1rxy", b"\x0b\0\1r\0\0\0\0\1\0"])
def test_malformed_buckets_are_refused(kind: Kind, content: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        kind([(1, [])]).fill(content, [len(content)])


@given(st.lists(st.tuples(st.integers(0, 3), requests), max_size=12))
def test_the_store_gives_back_what_was_put(course: list[tuple[int, Request]]) -> None:
    state = JoinState(answers=ANSWERS, truths=TRUTHS, deployments=[("ns", "d")])
    store = RequestStore(state)
    store.add_deployment()
    model: dict[tuple[int, str], Request] = {}
    for number, request in course:
        request_id = str(UUID(int=number)) if number else "r0"
        if (0, request_id) in model:
            request.first_seen_hour = model[0, request_id].first_seen_hour
        store.put(0, request_id, request)
        model[0, request_id] = request
        assert dict(store.items()) == model
    assert set(store.unmatched()) == {ref for ref, one in model.items() if not one.predictions}
    for ref, request in model.items():
        assert store.has(*ref)
        assert store.get(*ref) == request
        store.remove(*ref)
        assert not store.has(*ref)


texts = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda one: str(one).upper()),
    st.uuids().map(lambda one: one.hex),
    st.uuids().map(lambda one: f"req-{one}"),
    st.text(max_size=70),
    st.from_regex(r"[0-9a-f_-]{30,40}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{1,64}", fullmatch=True),
    st.from_regex(r"[0-9A-Za-z_.-]{1,64}", fullmatch=True),
    st.integers().map(str),
    st.lists(st.sampled_from("0a-\u0661"), min_size=36, max_size=36).map("".join),
)


@given(texts)
@example("0a1b2c3d-0000-4000-8000-00000000000f")
def test_ids_can_be_packed(text: str) -> None:
    packed, size = pack_id(text), len(text.encode())
    assert (packed is None) == (size > 64)
    if packed is not None:
        assert unpack_id(packed) == text
        assert len(packed) == packed_length(packed[0]) <= size + 1


@given(st.uuids(), st.sampled_from(["", "req-"]))
def test_uuids_are_short(uuid: UUID, prefix: str) -> None:
    for text in (str(uuid), uuid.hex):
        assert len(pack_id(prefix + text) or b"") == 17 + len(prefix)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("65a1b2c3d4e5f60718293a4b", 13),
        ("1000000042", 6),
        ("0" * 31, 17),
        ("an-id-of-thirty-letters_ABCXYZ", 24),
        ("an-id.of-thirty-letters_ABCXYZ", 31),
        ("x" * 64, 49),
    ],
)
def test_ids_of_few_characters_are_short(text: str, length: int) -> None:
    assert len(pack_id(text) or b"") == length
