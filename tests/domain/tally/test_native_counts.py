"""The native counts of a bucket are those of Python, and so are their bytes in a checkpoint."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.log.deltas import Delta, DeltaBatch, RawDeltaBatch, pack_cells, pack_sums
from processor.domain.log.records import decode_raw_delta, encode
from processor.domain.model_key import ModelKey
from processor.domain.native import native, use_native
from processor.domain.statistics.counts import Cell, Counts, Totals
from processor.domain.statistics.sums import Sums
from processor.domain.tally import bucket_counts
from processor.domain.tally.bucket_counts import (
    ALL,
    DELAYS,
    LABELS,
    SUMS,
    BucketCounts,
    BucketFactory,
)

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

CASES = settings(max_examples=300, deadline=None)
MODEL = ModelKey("seldon", "iris", "default", "a")

labels = st.sampled_from(["", "a", "b", "ä", "\U0001f600", "label " * 8])
#: Small numbers, and those at which another form of the integer begins.
amounts = st.sampled_from([1, 2, 127, 128, 2**16, 2**32]) | st.sampled_from(
    [n + step for n in (2**62, 2**63, 2**64, 2**127, 2**128, 2**140) for step in (-1, 0, 1)]
)
signed = st.builds(lambda n, sign: n * sign, amounts, st.sampled_from([1, -1]))
keys = st.tuples(st.integers(0, 60), labels, st.sampled_from([0, 1, 63, 300, -1, 2**40]))


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    number = st.integers(-300, 2**40)
    totals: Totals = draw(st.tuples(number, number, number, number, number, number, number))
    cells = draw(st.dictionaries(st.builds(Cell, labels, labels), st.integers(-9, 9), max_size=5))
    sums = draw(st.dictionaries(keys, signed, max_size=12))
    return Counts(*totals, {cell: n for cell, n in cells.items() if n}, sums)


steps = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "change", "close", "close", "reset", "take", "load"]),
        counts(),
        st.sampled_from([1, -1]),
        st.sampled_from([ALL, ALL, LABELS, SUMS, DELAYS]),
    ),
    max_size=12,
)


def assert_equal(fast: BucketCounts, slow: BucketCounts) -> None:
    assert fast == slow.copy()
    assert fast.copy() == slow.copy()
    assert list(fast.cells) == list(slow.cells)
    assert fast.sums_by_kind() == slow.sums_by_kind()
    assert (fast.has_sums, fast.is_empty()) == (slow.has_sums, slow.is_empty())
    assert fast.packed() == slow.packed()
    assert fast.delays == slow.delays
    for kind, label, _ in [(55, "a", 0), *slow.delays]:
        assert fast.delay_sum(kind, label) == slow.delay_sum(kind, label)
    assert fast.changed == slow.changed
    assert (fast.judged, fast.reward_sum) == (slow.judged, slow.reward_sum)
    positions: dict[str, int] = {"b": 0}
    known = dict(positions)
    assert encode(fast.pack(positions)) == encode(slow.pack(known))
    assert positions == known


@CASES
@given(steps)
def test_native_counts_are_those_of_python(
    steps: list[tuple[str, Counts, int, int]],
) -> None:
    new = BucketFactory().new
    fast, slow = new(), BucketCounts()
    for step, other, sign, part in steps:
        if step == "change":
            fast_other, slow_other = new(), BucketCounts()
            fast_other.change_by(other)
            slow_other.change_by(other)
            if part == LABELS:  # what is added may be closed
                assert fast_other.close_unchanged() == slow_other.close_unchanged() is False
                assert fast_other.close_unchanged() == slow_other.close_unchanged() is True
            fast.change(fast_other, sign, part)
            slow.change(slow_other, sign, part)
        elif step == "close":
            assert fast.close_unchanged() == slow.close_unchanged()
        elif step == "reset":
            fast.reset(part)
            slow.reset(part)
        elif step == "take":
            fast_taken, slow_taken = fast.take_sums(), slow.take_sums()
            assert (fast_taken is None) == (slow_taken is None)
            if fast_taken is not None and slow_taken is not None:
                assert_equal(fast_taken, slow_taken)
        else:
            texts: dict[str, int] = {}
            cells = pack_cells(other.cells, texts)
            found = BucketCounts(sums=other.sums).pack({})
            packed = (b"", b"") if found is None else found[2:]
            for each in fast, slow:
                each.load(other.totals(), cells, list(texts), *packed)
        assert_equal(fast, slow)


@CASES
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([7, 8]), counts()), max_size=6),
    st.sampled_from([1, 1, 1, 2, 70]),
    st.booleans(),
)
def test_native_deltas_are_those_of_python(
    changes: list[tuple[int, int, Counts]], times: int, are_raw: bool
) -> None:
    texts: dict[str, int] = {}
    deltas = [
        Delta(0, basis, minute, one.totals(), pack_cells(one.cells, texts),
              pack_sums(one.sums, texts))
        for basis, minute, one in changes
    ]  # fmt: skip
    batch = DeltaBatch(1, "log", 0, 0, -1, [MODEL], list(texts), deltas)
    raw = decode_raw_delta(encode(batch))
    assert isinstance(raw, RawDeltaBatch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_counts, "use_native", False)
        general = BucketFactory()
    factory = BucketFactory()
    fast, slow = factory.new_fresh(), general.new_fresh()
    assert not fast
    for _ in range(times):
        factory.add_deltas(raw if are_raw else batch, lambda _: fast)
        general.add_deltas(raw if are_raw else batch, lambda _: slow)
    assert bool(fast) == bool(slow)
    assert [list(each) for each in fast.changes] == [list(each) for each in slow.changes]
    for fast_minutes, slow_minutes in zip(fast.changes, slow.changes, strict=True):
        for minute, one in fast_minutes.items():
            assert_equal(one, slow_minutes[minute])


def test_sums_exceed_any_number_of_bits() -> None:
    """The square of the largest error is 4 * 10^36: 43 of them do not fit into 128 bits."""
    key, square = (23, "", 0), 4 * 10**36
    one, total = BucketFactory(), 0
    bucket, other = one.new(), one.new()
    other.change_by(Counts(sums={key: square}))
    for _ in range(200):
        bucket.change(other)
        total += square
        assert bucket.sums == {key: total}
    again: Sums = bucket_counts.unpack(bucket.packed())
    assert again == {key: total}
    for _ in range(200):
        bucket.change(other, -1)
    assert bucket.is_empty()


@pytest.mark.parametrize(
    "deltas", [b"", b"\x91", b"\x91\x90", b"\x91\x93\x00\x00\x00", encode([[0, 2, 7, [0] * 7, []]]),
               encode([[1, 0, 7, [0] * 7, []]]), encode([[0, 0, 7, [0] * 7, [5, 5, 1]]])],
)  # fmt: skip
def test_malformed_deltas_are_refused(deltas: bytes) -> None:
    known = map(msgspec.Raw, (encode([MODEL]), encode(["a"]), deltas))
    factory = BucketFactory()
    with pytest.raises(ValueError, match="delta"):
        factory.add_deltas(RawDeltaBatch(1, "log", 0, 0, -1, *known), lambda _: factory.new_fresh())


@pytest.mark.parametrize(
    ("version", "log_id", "offset", "prev", "is_added"),
    [(1, "log", 5, 3, True), (1, "log", 9, -1, True), (2, "log", 5, 3, False),
     (1, "other", 5, 3, False), (1, "log", 3, -1, False), (1, "log", 6, 5, False)],
)  # fmt: skip
def test_only_the_next_record_of_a_source_is_added(
    version: int, log_id: str, offset: int, prev: int, is_added: bool
) -> None:
    """Another log, a repetition and a gap are left to the general way, untouched."""
    delta = Delta(0, 0, 7, Counts(predictions=2).totals(), [])
    record = encode(DeltaBatch(version, log_id, 4, offset, prev, [MODEL], [], [delta]))
    factory, last = BucketFactory(), {4: 3}
    fresh = factory.new_fresh()
    assert factory.add_record(record, 1, "log", last, lambda _: fresh) is is_added
    assert (bool(fresh), last[4]) == (is_added, offset if is_added else 3)


def test_a_number_of_a_statistic_that_is_too_large_is_refused() -> None:
    with pytest.raises(OverflowError, match="160 bits"):
        BucketFactory().new().change_by(Counts(sums={(60, "", 0): 2**160}))


def test_a_count_that_is_too_large_is_refused() -> None:
    bucket = native.BucketCounts(native.Labels())
    bucket.change_by(Counts(rewards=2**62))
    with pytest.raises(OverflowError, match="64 bits"):
        bucket.change_by(Counts(rewards=2**62))
