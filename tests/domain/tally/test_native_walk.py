"""Changes take the same way into buckets and windows in native code as in Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.native import native, use_native
from processor.domain.statistics.counts import Counts
from processor.domain.tally import bucket_counts
from processor.domain.tally.bucket_counts import BucketFactory, Fresh
from processor.domain.tally.tally import Tally
from processor.domain.tally.walk import Floors, ModelTier, Walk, new_slide, new_walk
from processor.domain.tally.windows import DAY, HOUR
from tests.support.domain import tally_model
from tests.support.domain.tally_model import START, Message, apply_message, counts_in, logs

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)
CASES = settings(max_examples=40, deadline=None)
#: What the clock of a reader does between records: it also runs backwards.
STEPS = st.sampled_from([None, 0, 1, 59, 60, 3600, -61, -HOUR, 2 * DAY, 40 * DAY])


def shown(tally: Tally, now: float) -> list[tuple[object, ...]]:
    """Everything that a tally tells at a time."""
    windows = [(*where, counts.copy()) for *where, counts in tally.window_counts(now)]
    recent = [
        (model, [(name, *(one.copy() for one in both)) for name, both in found.windows.items()])
        for model, found in tally.recent_counts(now)
    ]
    blocks = [
        ((tier, block) in one.dirty, (tier, block) in one.saved)
        for one in tally.models.values()
        for tier in range(4)
        for block in sorted({block for _, block in one.dirty | one.saved.keys()})
    ]
    return [*windows, *recent, (blocks, counts_in(tally))]


@CASES
@given(log=logs(time_passes=True), steps=st.lists(STEPS, min_size=1, max_size=30))
def test_a_log_gives_the_same_windows(
    log: tuple[list[Message], object], steps: list[int | None]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_counts, "use_native", False)
        general = tally_model.new_tally()
    fast = tally_model.new_tally()
    now = float(START)
    for offset, message in enumerate(log[0]):
        step = steps[offset % len(steps)]
        for tally in (general, fast):
            apply_message(tally, offset, message)
        if step is None:
            flushes = [tally_model.WholeFlush(tally) for tally in (general, fast)]
            assert dict(flushes[0].blocks) == dict(flushes[1].blocks)
            assert flushes[0].encoded_manifest == flushes[1].encoded_manifest
            continue
        now = max(now, message.time) + step + 0.75
        assert shown(general, now) == shown(fast, now)
    assert shown(general, now) == shown(fast, now)
    kinds = [type(one._walk) for tally in (general, fast) for one in tally.models.values()]
    assert set(kinds) == {Walk, native.Walk}


@pytest.mark.parametrize("minute", [-(2**63), -1, 0, 59, 2**63 - 1])
def test_the_bucket_of_any_minute(minute: int) -> None:
    """Times before 1970 are rounded down, and the longest numbers do not overflow."""
    found = []
    for patched in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bucket_counts, "use_native", patched)
            factory = BucketFactory()
        buckets: dict[int, bucket_counts.BucketCounts] = {}
        dirty: set[tuple[int, int]] = set()
        totals = factory.new(), factory.new()
        tier = ModelTier(3600, 24, 3, (buckets, {}), [new_slide(factory, 0, 3600, 2, 3, totals)])
        fresh = factory.new_fresh()
        delta = Delta(0, 0, minute, Counts(predictions=5).totals(), [])
        batch = DeltaBatch(1, "log", 0, 0, -1, tally_model.MODELS, [], [delta])
        factory.add_deltas(batch, partial(_only, fresh))
        walk = new_walk(factory, [tier], {}, dirty)
        walk.apply(fresh, no_floors())
        assert not fresh
        walk.advance(tier.slides, 0)
        found.append((list(buckets), dirty, buckets[minute // 60].predictions))
    assert found[0] == found[1]


def _only(fresh: Fresh, _: Sequence[str]) -> Fresh:
    return fresh


def no_floors() -> Floors:
    return Floors((-(2**63),), -(2**63))
