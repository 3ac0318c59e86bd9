"""Columns give back the requests that they were made of, and the native extension makes the same."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.join.request_store import RequestStore
from processor.domain.join.requests.codec import RequestParts, holes
from processor.domain.join.requests.request import FeedbackRegister, PredictionRegister, Request
from processor.domain.join.state import JoinState
from processor.domain.log.observations import Values, answer_rows
from processor.domain.model_key import ModelKey
from processor.domain.native import use_native
from processor.domain.savepoint.columns import unpack_requests
from processor.domain.savepoint.contents import Requests, Tables
from processor.domain.savepoint.planes import PlaneReader, number_planes, string_planes
from processor.domain.savepoint.rows import RequestReader, Rows
from processor.domain.savepoint.selection import (
    NativeSorter,
    PythonSorter,
    Share,
    Sorter,
    request_blocks,
)
from processor.domain.values import TEXT, Answer, Reading, Schema, content_digest, digest, mix
from tests.support.domain.join_model import request_name

needs_native = pytest.mark.skipif(not use_native, reason="the native extension is not installed")

MODELS = [ModelKey("ns", f"d{number}", "p", "m") for number in range(3)]
ANSWERS = [Answer(f"label {number}", None, TEXT, Schema(), 0) for number in range(200)]
TRUTHS = [Reading(TEXT, f"label {number}", 0) for number in range(200)]
HALF = 1 << 63
TIMES = st.integers(-HALF, HALF - 1) | st.integers(0, 10**6).map(lambda ms: ms * 10**6)
ITEMS = st.integers(0, 199)
VALUES = st.none() | st.binary(min_size=1, max_size=4) | st.binary(min_size=1, max_size=300)


def values_of(draw: st.DrawFn, items: int | list[int]) -> Values:
    if isinstance(items, int):
        return draw(VALUES)
    several = st.lists(st.binary(max_size=9), min_size=len(items), max_size=len(items))
    return draw(st.none() | several)


@st.composite
def predictions(draw: st.DrawFn) -> PredictionRegister:
    answers = draw(ITEMS | st.lists(ITEMS, max_size=4))
    values = values_of(draw, answers)
    content = draw(st.integers(0, (1 << 64) - 1))
    if isinstance(answers, int) and draw(st.booleans()):
        assert not isinstance(values, list)
        content = mix(content_digest(ANSWERS[answers]), values or b"")
    return PredictionRegister(
        draw(st.integers(0, 2)), draw(TIMES), draw(st.integers(0, 200)), content, answers,
        draw(st.booleans()), draw(st.booleans()), values,
    )  # fmt: skip


@st.composite
def feedbacks(draw: st.DrawFn) -> FeedbackRegister:
    truth = draw(st.none() | ITEMS | st.lists(ITEMS, max_size=4))
    values = None if truth is None else values_of(draw, truth)
    reward = draw(st.none() | st.integers(-(1 << 40), 1 << 40))
    content = draw(st.integers(0, (1 << 64) - 1))
    if not isinstance(truth, list) and draw(st.booleans()):
        assert not isinstance(values, list)
        rows = None if truth is None else (TRUTHS[truth],)
        content = mix(digest(rows, reward), values or b"")
    return FeedbackRegister(
        draw(st.integers(0, 2)), draw(TIMES), draw(st.integers(0, 200)), content, truth, reward,
        values,
    )  # fmt: skip


@st.composite
def states(draw: st.DrawFn) -> JoinState:
    """Requests of several hours and deployments, with ids of every form, in and beside the buckets."""
    state = JoinState(models=list(MODELS), answers=list(ANSWERS), truths=list(TRUTHS))
    store = RequestStore(state)
    names = st.integers(0, 40).map(request_name) | st.text("aé0f-", max_size=80)
    for deployment in range(2):
        state.deployments.append(("ns", f"d{deployment}"))
        store.add_deployment()
        for name in draw(st.lists(names, unique=True, max_size=12)):
            made = draw(st.lists(predictions(), max_size=2))
            said = draw(st.lists(feedbacks(), min_size=not made, max_size=2))
            store.put(deployment, name, Request(draw(st.integers(6, 9)), made, said))
    return state


def blocks_of(state: JoinState, native_ones: bool, size: int, held: int) -> list[Requests]:
    with pytest.MonkeyPatch.context() as patch:
        kind = NativeSorter if native_ones else PythonSorter

        def sorter(share: Share) -> Sorter:
            return kind(share)

        patch.setattr("processor.domain.savepoint.selection._sorter", sorter)
        return list(request_blocks(state, size, held))


@given(states(), st.integers(1, 5), st.integers(1, 9))
def test_columns_give_back_their_requests(state: JoinState, size: int, held: int) -> None:
    expected = sorted((name, packed) for (_, name), packed in RequestStore(state).packed())
    blocks = blocks_of(state, False, size, held)
    found = [(name, parts.join()) for block in blocks for name, parts in unpack_requests(block)]
    assert sorted(found) == expected
    assert all(0 < block.count <= size for block in blocks)
    for block in blocks:
        of = [parts for _, parts in unpack_requests(block)]
        assert {(parts.hour, parts.restored) for parts in of} == {(block.hour, block.restored)}


@needs_native
@given(states(), st.integers(1, 5), st.integers(1, 9))
def test_native_blocks_are_equal(state: JoinState, size: int, held: int) -> None:
    assert blocks_of(state, True, size, held) == blocks_of(state, False, size, held)


@needs_native
@given(states(), st.integers(1, 3), st.integers(1, 9))
def test_native_rows_are_equal(state: JoinState, partitions: int, rows: int) -> None:
    tables = Tables(state.models, *answer_rows(state.answers), state.truths)
    reader = RequestReader(tables, partitions, rows)
    for block in blocks_of(state, False, 100, 100):
        fields = msgspec.structs.astuple(block)
        assert reader._native is not None
        assert list(starmap(Rows, reader._native.write(*fields))) == list(reader.rows(block))


@needs_native
@given(states(), st.data())
def test_a_malformed_block_is_an_error(state: JoinState, data: st.DataObject) -> None:
    """With a right checksum, as another program may write it: an error, in both readers."""
    tables = Tables(state.models, *answer_rows(state.answers), state.truths)
    for block in blocks_of(state, False, 100, 100):
        reader = RequestReader(tables, 1)
        assert reader._native is not None
        planes = list(block.planes)
        number = data.draw(st.integers(0, len(planes) - 1))
        planes[number] = planes[number] + b"\0"
        wrong: dict[str, Any] = data.draw(
            st.sampled_from([
                {"planes": planes}, {"planes": block.planes[:-1]}, {"planes": [*block.planes, b"x"]},
                {"kinds": [kind[:-1] for kind in block.kinds]}, {"count": block.count + 1},
                {"widths": (9, *block.widths[1:])},
            ])
        )  # fmt: skip
        bad = msgspec.structs.replace(block, **wrong)
        with pytest.raises(ValueError):  # noqa: PT011  # which check sees it first may differ
            list(reader.rows(bad))
        with pytest.raises(ValueError):  # noqa: PT011
            reader._native.write(*msgspec.structs.astuple(bad))


@given(st.lists(st.integers(0, (1 << 64) - 1)), st.lists(st.binary(max_size=70)))
def test_planes_give_back_their_columns(numbers: list[int], strings: list[bytes]) -> None:
    planes = number_planes(numbers)
    width = len(planes)
    reader = PlaneReader([*planes, *string_planes(strings)])
    assert reader.numbers(len(numbers), width) == numbers
    assert reader.strings(list(map(len, strings))) == strings
    reader.end()


@given(st.binary(max_size=20))
def test_holes_of_any_bytes(content: bytes) -> None:
    """Malformed registers are an error, and never another one."""
    for is_cut in (False, True):
        try:
            found = holes(content, is_cut)
        except ValueError:
            continue
        if not is_cut:
            assert all(at + length <= len(content) for at, length in found)


def test_the_parts_of_a_request_are_its_shape() -> None:
    parts = RequestParts.of(bytes(4) + b"\1\0" + bytes(8) + b"\0\0\0")
    assert (parts.numbers, parts.registers) == (b"\1\0", b"\0\0\0")
