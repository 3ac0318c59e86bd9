"""The tally's counts, windows and checkpoints against the sums of its log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.log.records import encode
from processor.domain.statistics.counts import BASES, Counts
from processor.domain.statistics.sums import DELAYS
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import DAY, HOUR, MINUTE, TIERS, Window
from processor.domain.timestamps import SECOND
from tests.support.domain.tally_model import (
    LOG_ID,
    MODELS,
    START,
    VERSION,
    WINDOWS,
    Buckets,
    Message,
    Table,
    WholeFlush,
    apply_message,
    counts_in,
    decoded,
    deltas,
    logs,
    new_tally,
    reference_sums,
    retained,
)

Log = tuple[list[Message], list[DeltaBatch]]


@given(logs(time_passes=False), st.data())
def test_duplicates_and_losses_change_nothing(log: Log, data: st.DataObject) -> None:
    """Duplicates are skipped; batches after a lost one are held and reported."""
    messages, batches = log
    tally = new_tally()
    newest: dict[int, int] = {}
    for offset, message in enumerate(messages):
        apply_message(tally, offset, message)
        if message.batch is not None:
            source = message.batch.source
            newest[source] = max(newest.get(source, -1), message.batch.offset)
        waiting = {source for source, at in newest.items() if tally.last.get(source, -1) < at}
        assert {source for source, n in tally.held.items() if n} == waiting
        done = [one for one in batches if one.offset <= tally.last.get(one.source, -1)]
        if data.draw(st.booleans()):
            assert counts_in(tally) == retained(reference_sums(done), START)
    assert tally.held == {}
    assert tally.offset == len(messages)
    assert counts_in(tally) == retained(reference_sums(batches), START)


actions = st.lists(
    st.tuples(
        st.sampled_from(["read"] * 3 + ["flush"] * 2 + ["torn", "start", "late", "lose"]),
        st.sampled_from([0, 0, 0, 1]),
        st.integers(1, 6),
        st.sets(st.integers(0, 12)),
        st.booleans(),
    ),
    min_size=8,
    max_size=30,
)


@given(logs(time_passes=True), actions)
def test_any_checkpoint_is_right(
    log: Log, steps: list[tuple[str, int, int, set[int], bool]]
) -> None:
    """Two owners that do not know of each other write one table in parts, while they go on folding, late
    and over each other, and values get lost: a start from any such table counts everything."""
    messages, batches = log
    table = Table()
    owners = [table.restore(), table.restore()]
    flushes: list[WholeFlush] = []
    for action, owner, number, positions, with_manifest in steps:
        tally, at = owners[owner]
        if action == "read":
            for offset in range(at, min(at + number, len(messages))):
                apply_message(tally, offset, messages[offset])
                owners[owner] = tally, offset + 1
        elif action in ("flush", "torn"):

            def fold(owner: int = owner, interleaved: bool = with_manifest) -> None:
                tally, at = owners[owner]
                if interleaved and at < len(messages):
                    apply_message(tally, at, messages[at])
                    owners[owner] = tally, at + 1

            flush = WholeFlush(tally, fold)
            flushes.append(flush)
            whole = action == "flush"
            table.write(flush, range(len(flush.blocks) if whole else number), whole)
            if not whole:
                owners[owner] = table.restore()
        elif action == "start":
            owners[owner] = table.restore()
        elif action == "late" and flushes:
            table.write(flushes[number % len(flushes)], positions, with_manifest)
        elif action == "lose" and table.blocks:
            table.blocks.pop(sorted(table.blocks)[number % len(table.blocks)])
    expected = retained(reference_sums(batches), messages[-1].time)
    for tally, at in (*owners, table.restore()):
        for offset in range(at, len(messages)):
            apply_message(tally, offset, messages[offset])
        assert retained(counts_in(tally), messages[-1].time) == expected
        assert tally.offset == len(messages)
        assert_windows(tally, messages[-1].time)


@given(logs(time_passes=True), st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_each_whole_checkpoint_stands_alone(log: Log, steps: list[int]) -> None:
    """A flush of all blocks, with nothing that was written before, restores all counts."""
    messages, _ = log
    tally, offset = new_tally(), 0
    for step in steps:
        for message in messages[offset : offset + step]:
            apply_message(tally, offset, message)
            offset += 1
        flush = tally.flush_all()
        written = [one for one in flush.blocks if one is not None]
        blocks = decoded((key, encode(block)) for key, block in written)
        fresh = new_tally()
        assert fresh.restore(flush.manifest(), blocks) == tally.offset
        assert counts_in(fresh) == counts_in(tally)


def in_window(window: Window, tier: int, bucket: int, now: float) -> bool:
    """Counting rule 16, literally; hours that stand for minutes are rounded up."""
    if not window.seconds:
        return True
    size = TIERS[tier].size
    running = now // size
    return running - -(-window.seconds // size) < bucket <= running


def window_sums(buckets: Buckets, now: float) -> dict[tuple[object, str, str], Counts]:
    sums: dict[tuple[object, str, str], Counts] = {}
    for (tier, model, basis, bucket), counts in buckets.items():
        for window in WINDOWS:
            total = sums.setdefault((model, window.name, BASES[basis]), Counts())
            if window.tier == tier and in_window(window, tier, bucket, now):
                total.add_labels(counts)
            if window.sums_tier == tier and in_window(window, tier, bucket, now):
                # Delays are in no window.
                sums_of_windows = {k: n for k, n in counts.sums.items() if k[0] not in DELAYS}
                total.add_sums(Counts(sums=sums_of_windows))
    return {key: counts for key, counts in sums.items() if not counts.is_empty()}


def shown(tally: Tally, now: float) -> dict[tuple[object, str, str], Counts]:
    return {
        (model, window, basis): copied
        for model, window, basis, counts in tally.window_counts(now)
        if not (copied := counts.copy()).is_empty()
    }


def assert_windows(tally: Tally, now: float) -> None:
    sums = shown(tally, now)
    assert sums == window_sums(counts_now(tally), now)


def counts_now(tally: Tally) -> Buckets:
    """The counts in a tally, without moving its windows."""
    return {
        (tier, model, basis, bucket): counts
        for model, one in tally.models.items()
        for tier, bases in enumerate(one.tiers)
        for basis, buckets in enumerate(bases)
        for bucket, counts in buckets.items()
    }


@st.composite
def sequences(draw: st.DrawFn) -> list[tuple[str, int, list[Delta]]]:
    """Steps: changes, reads of the windows and flushes, with clocks that advance, jump and go back."""
    steps = [0, 0, 0, 60, 240, -60, HOUR, 6 * HOUR, -5 * HOUR, 20 * HOUR, -12 * HOUR, 8 * DAY]
    kinds = st.sampled_from(["apply", "apply", "read", "read", "flush", "heartbeat"])
    return [
        (kind, draw(st.sampled_from(steps)), draw(st.lists(deltas(), min_size=1, max_size=2)))
        for kind in draw(st.lists(kinds, min_size=5, max_size=14))
    ]


@given(sequences())
def test_windows_are_sums_of_buckets(sequence: list[tuple[str, int, list[Delta]]]) -> None:
    """Counting rule 16 holds whenever the windows were read before."""
    tally = new_tally()
    now = newest = START
    batches: list[DeltaBatch] = []
    for offset, (kind, step, changes) in enumerate(sequence):
        now += step
        if kind in ("apply", "heartbeat"):
            newest = max(newest, now)
        batch = None
        if kind == "apply":
            for delta in changes:
                delta.minute += (now - START) // MINUTE
            batch = DeltaBatch(
                VERSION, LOG_ID, 0, offset, tally.last.get(0, -1), MODELS, ["x", "y"], changes
            )
            batches.append(batch)
        if kind == "flush":
            WholeFlush(tally)
        elif kind == "read":
            sums = shown(tally, now)
            assert sums == window_sums(counts_now(tally), now)
        else:
            apply_message(tally, offset, Message(now, batch))
    # A clock that agrees with the log sees complete windows, whatever has expired.
    assert shown(tally, newest) == window_sums(retained(reference_sums(batches), newest), newest)


def one(offset: int, minutes: int) -> DeltaBatch:
    """A batch with one prediction, some minutes after START."""
    delta = Delta(0, 0, START // MINUTE + minutes, (1, 0, 0, 0, 0, 0, 0), [])
    return DeltaBatch(VERSION, LOG_ID, 0, offset, offset - 1, MODELS, [], [delta])


def test_expired_buckets_leave_their_windows() -> None:
    """An expired bucket leaves its windows even if nobody read them meanwhile."""
    tally = new_tally()
    tally.apply(0, START * SECOND, one(0, 0))
    assert shown(tally, START)[MODELS[0], "24h", "request"].predictions == 1
    later = START + 23 * HOUR + 12 * HOUR
    tally.advance(1, later * SECOND)
    assert 0 not in {key.tier for key, _ in WholeFlush(tally).blocks}
    assert (MODELS[0], "24h", "request") not in shown(tally, START + 23 * HOUR)
    assert (MODELS[0], "24h", "request") not in shown(tally, later)
    assert shown(tally, later)[MODELS[0], "all", "request"].predictions == 1


def test_the_edges_of_a_window() -> None:
    """Counting rule 16: a window of 5 minutes includes the current minute and the four before it."""
    for minutes, inside in ((0, True), (-4, True), (-5, False), (1, False)):
        for read_first in (True, False):
            tally = new_tally()
            tally.apply(0, START * SECOND, one(0, -300))
            if read_first:
                shown(tally, START)
            tally.apply(1, START * SECOND, one(1, minutes))
            for now in (START, START + 59):
                assert ((MODELS[0], "5m", "request") in shown(tally, now)) is inside
            for step in range(1, 11):  # the window moves on minute by minute
                is_shown = (MODELS[0], "5m", "request") in shown(tally, START + step * MINUTE)
                assert is_shown is (step - 5 < minutes <= step)


def test_a_block_of_a_former_owner_is_continued_from_its_own_offset() -> None:
    """The other blocks skip the deltas that they include, newer than the manifest or not."""
    tally, table = new_tally(), Table()
    log = [Message(START, one(offset, 300 * (offset % 2))) for offset in range(8)]
    flushes = []
    for offset, message in enumerate(log):
        apply_message(tally, offset, message)
        if offset % 2:
            flushes.append(WholeFlush(tally))
    for flush in flushes[:3]:
        table.write(flush, range(len(flush.blocks)), True)
    torn = {key: i for i, (key, _) in enumerate(flushes[3].blocks)}
    first, *_ = [key for key in torn if key.tier == 0]
    table.write(flushes[3], [torn[first]], False)
    assert table.restore()[1] == 6
    stale = next(i for i, (key, _) in enumerate(flushes[0].blocks) if key.tier == 3)
    table.write(flushes[0], [stale], False)
    restored, start = table.restore()
    assert start == 2
    assert (restored.last, restored.log_time) == ({0: 1}, START * SECOND)
    for offset in range(start, len(log)):
        apply_message(restored, offset, log[offset])
    assert counts_in(restored) == reference_sums(message.batch for message in log if message.batch)
    assert restored.last == {0: 7}


def test_changes_below_the_retention_floor_are_dropped() -> None:
    """Changes of either sign are dropped, in the tier of the expired bucket only."""
    tally = new_tally()
    tally.apply(0, (START + 26 * HOUR) * SECOND, one(0, 0))
    assert {key[0] for key in counts_in(tally)} == {1, 2, 3}
    assert WholeFlush(tally).expired == []


def test_a_flush_writes_only_changed_blocks() -> None:
    tally = new_tally()
    tally.apply(0, START * SECOND, one(0, 0))
    assert len(WholeFlush(tally).blocks) == len(TIERS)
    assert WholeFlush(tally).blocks == []
    tally.apply(1, START * SECOND, one(1, 24 * 60))
    flush = WholeFlush(tally)
    assert {key.tier for key, _ in flush.blocks} == {0, 1, 2, 3}
    assert flush.manifest.offset == 2
    assert flush.manifest.last == {0: 1}


def test_a_start_reads_the_log_from_the_manifest() -> None:
    """The log is read from its beginning if a block that the manifest lists is missing."""
    tally, table = new_tally(), Table()
    assert table.restore()[1] == 0
    for offset in range(3):
        tally.apply(offset, START * SECOND, one(offset, 0))
    flush = WholeFlush(tally)
    table.write(flush, range(len(flush.blocks)), True)
    assert table.restore()[1] == 3
    tally.advance(3, (START + 40 * HOUR) * SECOND)
    flush = WholeFlush(tally)
    assert [key.tier for key in flush.expired] == [0]
    table.write(flush, (), True)
    assert table.restore()[1] == 4
    del table.blocks[next(iter(table.blocks))]
    assert table.restore()[1] == 0
