"""Courses of batches, folded natively or in Python, and what a fold made of them."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from processor.domain.join.fold import JoinFold
from processor.domain.join.request_store import RequestRef
from processor.domain.log.deltas import DeltaBatch, unpack
from processor.domain.log.observations import BatchBuilder, IngestMode, ObservationBatch
from processor.domain.log.records import decode_observation, encode
from processor.domain.timestamps import HOUR
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import restored, stored
from tests.support.domain.join_model import Observation, unpacked

#: The observations of a batch, its ingest mode, and the hours since the last batch.
Step = tuple[list[Observation], IngestMode, int]


class Folded(NamedTuple):
    """The results of a fold of some batches."""

    deltas: list[object]
    states: list[object]
    """After each batch."""
    telemetry: Telemetry
    judged: dict[RequestRef, int] | None
    unmatched: dict[RequestRef, None] | None


def in_python(patch: pytest.MonkeyPatch) -> None:
    """Make folds in Python from now on."""
    patch.setattr("processor.domain.join.fold.use_native", False)
    patch.setattr("processor.domain.join.requests.table.use_native", False)


def repeating(requests: Sequence[list[Observation]], size: int, mode: IngestMode) -> list[Step]:
    """Batches of so many requests; one of the first comes again at the end."""
    batches = [
        [one for each in requests[at : at + size] for one in each]
        for at in range(0, len(requests), size)
    ]
    return [(batch, mode, 0) for batch in [*batches, batches[3]]]


def folded(
    course: Sequence[Step], is_native: bool, noted: bool, max_cells: int | None = None
) -> Folded:
    """Fold some batches, and restart now and then; ``max_cells`` is the accumulator's limit of known
    outcomes, in place of its own."""
    with pytest.MonkeyPatch.context() as patch:
        if max_cells is not None:
            patch.setattr("processor.domain.join.delta_accumulator._MAX_CELLS", max_cells)
        if not is_native:
            in_python(patch)
        fold = JoinFold("log", 0, 3, 4 * HOUR, Telemetry())
        fold.judged, fold.unmatched = ({}, {}) if noted else (None, None)
        deltas, states, time = [], [], 0
        for offset, (seen, mode, hours) in enumerate(course):
            time += hours * HOUR
            builder = BatchBuilder()
            for one in seen:
                builder.add(one)
            packed = encode(builder.build("log", mode))
            batch = decode_observation(packed)
            assert isinstance(batch, ObservationBatch)
            found = unpacked(fold.apply(offset, time, batch))
            deltas += [_sent(found[target]) for target in sorted(found)]
            states.append(_content(fold))
            if offset % 3 == 2:
                fold.restore(restored(stored(fold.state)))
        return Folded(deltas, states, fold.telemetry, fold.judged, fold.unmatched)


def _sent(batch: DeltaBatch) -> object:
    """A batch of deltas without the order of its changes, which is free."""
    changes = [
        (batch.models[one.model], one.basis, one.minute, one.totals,
         sorted(unpack(one, batch.labels).cells.items()),
         sorted(unpack(one, batch.labels).sums.items()))
        for one in batch.deltas
    ]  # fmt: skip
    return batch.offset, batch.prev, sorted(changes)


def _content(fold: JoinFold) -> object:
    """A state without the order of its requests, which is free."""
    state = fold.state
    scalars = {
        name: getattr(state, name)
        for name in state.__struct_fields__
        if name not in ("requests", "completed_ids")
    }
    ids = state.completed_ids
    numbers = sorted(memoryview(ids.content()).cast("Q"))
    requests = {ref: encode(request) for ref, request in fold.refs()}
    assert fold.approx_bytes > 0 or not requests
    return encode(scalars["models"]), scalars, [one for one in numbers if one], requests
