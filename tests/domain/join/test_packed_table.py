"""The packed table behaves like a dict of rows, and the request store like a dict of requests."""

from __future__ import annotations

from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.join.packed_table import (
    MAX_ROWS_PER_BUCKET,
    ROW,
    PackedRow,
    PackedTable,
)
from processor.domain.join.request_ids import pack_id, pack_ids, unpack_id
from processor.domain.join.request_store import RequestStore
from processor.domain.join.state import FeedbackRegister, JoinState, PredictionRegister, Request
from processor.domain.values import TEXT, Answer, Schema

ANSWER = Answer("x", None, TEXT, Schema())

# Among them keys whose bytes can be found across the fields of other rows.
keys = st.one_of(
    st.integers(0, 300).map(lambda number: number.to_bytes(16, "big")),
    st.sampled_from([bytes(16), b"\1" * 16, b"\0" * 15 + b"\1"]),
    st.binary(min_size=16, max_size=16),
)
rows = st.builds(
    PackedRow,
    keys,
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2**62]),
    st.integers(0, 2),
    st.sampled_from([0, 1, 2**62]),
    st.sampled_from([b"", b"\0" * 7 + b"\1", b"\1" * 8]),
)
steps = st.lists(
    st.one_of(
        rows,
        st.tuples(st.just("remove"), keys),
        st.tuples(st.just("expire"), st.integers(0, 5)),
        st.just("restart"),
    ),
    max_size=200,
)


@given(steps)
def test_the_table_is_a_dict_of_rows(course: list[PackedRow | tuple[str, object] | str]) -> None:
    table, model = PackedTable(), dict[bytes, PackedRow]()
    for step in course:
        if isinstance(step, PackedRow):
            if step.key in model:  # the hour of a request never changes
                step = step._replace(first_seen_hour=model[step.key].first_seen_hour)
            assert table.put(step)
            model[step.key] = step
        elif step == "restart":
            table = msgspec.msgpack.decode(msgspec.msgpack.encode(table), type=PackedTable)
        elif step[0] == "remove":
            key = step[1]
            assert isinstance(key, bytes)
            if model.pop(key, None):
                table.remove(key)
        else:
            before = step[1]
            assert isinstance(before, int)
            gone = [
                model.pop(row.key) for row in list(model.values()) if row.first_seen_hour < before
            ]
            assert table.expire(before) == (len(gone), sum(not row.feedback_id for row in gone))
        assert table.count == len(model)
    # From the first row with values on, every row has as many bytes of them.
    padded = {
        key: row._replace(values=row.values.ljust(table.width, b"\0")) for key, row in model.items()
    }
    assert sorted(table.rows()) == sorted(padded.values())
    assert all(table.get(key) == row for key, row in padded.items())
    assert table.oldest() == min((row.first_seen_hour for row in model.values()), default=None)


def test_a_table_grows_by_a_bucket_at_a_time() -> None:
    table = PackedTable()
    for number in range(5000):
        assert table.put(PackedRow(number.to_bytes(16, "big"), 7, number, 1, 0, 0))
    assert table.count == 5000
    assert max(map(len, table.buckets)) < 100 * ROW.size
    for number in range(5000):
        row = table.get(number.to_bytes(16, "big"))
        assert row is not None
        assert row.prediction_id == number
    assert table.get((5000).to_bytes(16, "big")) is None


def test_values_of_another_length_are_refused() -> None:
    """The width of a table is that of the first values in it; requests with longer ones are objects."""
    table = PackedTable()
    row = PackedRow(bytes(16), 0, 0, 0, 0, 0)
    assert table.put(row)
    assert table.put(row._replace(key=b"\1" * 16, values=b"four"))
    assert not table.put(row._replace(key=b"\2" * 16, values=b"longer"))
    assert (table.width, table.count) == (4, 2)
    assert table.get(bytes(16)) == row._replace(values=bytes(4))


def test_a_full_bucket_takes_no_more() -> None:
    """Otherwise ids chosen to share a bucket would make every search long."""
    table = PackedTable(mask=0, grow_at=10**9)  # as if all keys had one hash
    added = [
        table.put(PackedRow(number.to_bytes(16, "big"), 0, 0, 0, 0, 0)) for number in range(600)
    ]
    assert added == [number < MAX_ROWS_PER_BUCKET for number in range(600)]


def test_a_request_without_room_is_kept_as_an_object() -> None:
    state = JoinState(answers=[ANSWER] * 4)
    store = RequestStore(state)
    store.add_deployment()
    state.packed_requests[0].grow_at = 10**9
    request = Request(1, [PredictionRegister(0, 5, 1, 2, 3, False)], [])
    ids = [str(UUID(int=number)) for number in range(600)]
    for each in ids:
        store.put(0, each, request)
    assert len(state.object_requests[0]) == 600 - MAX_ROWS_PER_BUCKET
    assert all(store.get(0, each) == request for each in ids)
    store.pop(0, ids[0])
    store.put(0, ids[-1], request)  # there is room for it now
    assert ids[-1] not in state.object_requests[0]
    assert len(store) == 599
    assert {ref for ref, _ in store.items()} == {(0, each) for each in ids[1:]}


requests = st.builds(
    Request,
    st.just(3),
    st.lists(
        st.builds(
            PredictionRegister,
            st.integers(0, 2),
            st.integers(0, 2**62),
            st.integers(0, 1),
            st.integers(0, 2**64 - 1),
            st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), min_size=2, max_size=3)),
            st.booleans(),
            st.booleans(),
        ),
        max_size=2,
    ),
    st.lists(
        st.builds(
            FeedbackRegister,
            st.integers(0, 2),
            st.integers(0, 2**62),
            st.integers(0, 1),
            st.integers(0, 2**64 - 1),
            st.one_of(
                st.none(),
                st.integers(0, 3),
                st.lists(st.integers(0, 3), min_size=2, max_size=3),
            ),
            st.one_of(st.none(), st.integers(-(10**12), 10**12)),
        ),
        max_size=2,
    ),
)


@given(st.lists(st.tuples(st.integers(0, 3), requests), max_size=12))
def test_the_store_gives_back_what_was_put(course: list[tuple[int, Request]]) -> None:
    """Also when a request moves between the two representations; it is packed whenever it can be."""
    state = JoinState(answers=[ANSWER] * 4)
    store = RequestStore(state)
    store.add_deployment()
    model: dict[str, Request] = {}
    for number, request in course:
        request_id = str(UUID(int=number)) if number else "r0"
        store.put(0, request_id, request)
        model[request_id] = request
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=JoinState)
        for each in (store, RequestStore(again)):
            assert {name: each.get(0, name) for name in model} == model
        packed = sum(
            name != "r0"
            and len(one.predictions) == 1
            and isinstance(one.predictions[0].answers, int)
            and len(one.feedbacks) <= 1
            and not any(isinstance(feedback.truth, list) for feedback in one.feedbacks)
            for name, one in model.items()
        )
        assert (state.packed_requests[0].count, len(state.object_requests[0])) == (
            packed,
            len(model) - packed,
        )
    assert set(store.unmatched()) == {(0, n) for n, one in model.items() if not one.predictions}
    for name, request in model.items():
        assert store.has(0, name)
        assert store.pop(0, name) == request
        assert not store.has(0, name)


texts = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda one: str(one).upper()),
    st.text(max_size=40),
    st.from_regex(r"[0-9a-fA-F _-]{36}", fullmatch=True),
    st.lists(st.sampled_from("0a-\u0661"), min_size=36, max_size=36).map("".join),
)


@given(st.lists(texts, max_size=5))
def test_only_uuids_are_packed(some: list[str]) -> None:
    packed = [pack_id(text) for text in some]
    assert [key for key, _ in pack_ids(some)] == packed
    for text, key in zip(some, packed, strict=True):
        try:
            is_uuid = str(UUID(text)) == text
        except ValueError:
            is_uuid = False
        assert (key is not None) == is_uuid
        if key is not None:
            assert unpack_id(key) == text
