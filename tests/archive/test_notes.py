"""Notes in memory: the native ones and those in Python find the same, and filters exclude nothing that
the index has."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import processor.archive.sqlite.requests as index
from processor.archive.sqlite import notes as module
from processor.archive.sqlite.notes import FILTERS, Notes, PythonNotes, new_notes
from processor.domain.native import use_native

pytestmark = pytest.mark.skipif(not use_native, reason="there is nothing to compare with")

_REQUESTS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 5)
#: Notes to add, whether to begin to write, and whether that succeeds.
_STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(_REQUESTS, st.integers(1, 80)), max_size=6),
        st.sampled_from(["begin", "end"]),
    ),
    max_size=20,
)


def _rows(notes: Notes, count: int) -> list[tuple[int, int, int]]:
    return [row for start in range(0, count, 3) for row in notes.rows(start, 3)]


@given(_STEPS)
def test_native_notes_are_those_of_python(steps: Sequence[object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "SEGMENT_BITS", 2)
        native, python = new_notes(-1), PythonNotes()
        assert type(native) is not type(python)
        requests: set[int] = {3}
        for step in steps:
            if isinstance(step, list):
                native.add(step)
                python.add(step)
                requests.update(request for request, _ in step)
            elif step == "begin":
                counts = native.begin_write(), python.begin_write()
                assert counts[0] == counts[1]
                assert sorted(_rows(native, counts[0])) == sorted(_rows(python, counts[1]))
            else:
                native.end_write()
                python.end_write()
            assert len(native) == len(python)
            for request in requests:
                assert sorted(native.find([request])) == sorted(python.find([request]))
            assert native.find(list(requests)) == [
                number for request in requests for number in native.find([request])
            ]


@given(
    st.lists(st.tuples(_REQUESTS, st.integers(1, 80)), max_size=30),
    st.lists(st.tuples(_REQUESTS, st.integers(1, 80)), max_size=30),
)
def test_filters_exclude_nothing_that_has_notes(
    stored: list[tuple[int, int]], added: list[tuple[int, int]]
) -> None:
    """Neither notes of an earlier process nor those of this one, of whatever segment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "SEGMENT_BITS", 2)
        patch.setattr(module, "FILTERS", 4)
        last = max((number >> 2 for _, number in stored), default=-1)
        notes = new_notes(last)
        notes.add(added)
        for request, number in stored + added:
            assert (number >> 2, request) in notes.places([request], 0, 20)


def test_filters_exclude_nearly_all_that_has_no_notes() -> None:
    notes = new_notes(-1)
    # Digests are as good as random.
    digests = [(number * 0x9E3779B97F4A7C15) % (1 << 64) - (1 << 63) for number in range(20_000)]
    notes.add([(digest, number + 1) for number, digest in enumerate(digests[:10_000])])
    assert len(notes.places(digests[:10_000], 0, 0)) == 10_000
    assert len(notes.places(digests[10_000:], 0, 0)) < 50
    assert len(notes.places(digests[10_000:], 1, 1)) == 10_000
    assert FILTERS << index.SEGMENT_BITS > 1 << 25
