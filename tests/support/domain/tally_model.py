"""A reference model of the tally: generated logs of deltas, and the counts that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from processor.domain.log.deltas import Delta, DeltaBatch, RawDeltaBatch, pack_sums, unpack
from processor.domain.log.records import decode_raw_delta, encode
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.sums import DELAYS
from processor.domain.tally.tally import BlockKey, BucketBlock, CheckpointManifest, Tally
from processor.domain.tally.windows import (
    ALL,
    DAY,
    HOUR,
    HOURS,
    MINUTE,
    MINUTES,
    SUMS_KEEP,
    TIERS,
    parse_window,
)
from processor.domain.timestamps import SECOND

VERSION, LOG_ID = 1, "log-id"
MODELS = [ModelKey("seldon", "iris", "default", name) for name in ("a", "b")]
WINDOWS = tuple(map(parse_window, ("5m", "1h", "24h", "7d", "30d", "60d", "all")))
#: The start of the logs in seconds since 1970: in the middle of blocks of every tier.
START = 20_000 * DAY + 5 * HOUR

#: Counts by tier, model, basis and bucket, without empty ones.
Buckets = dict[tuple[int, ModelKey, int, int], Counts]


class Message(NamedTuple):
    """A record of the log; a heartbeat has no batch. ``time`` is in seconds since 1970."""

    time: int
    batch: DeltaBatch | None


def new_tally() -> Tally:
    return Tally(VERSION, LOG_ID, WINDOWS)


def apply_message(tally: Tally, offset: int, message: Message) -> None:
    """Fold one record, encoded, and decoded again where that is needed, as the service does."""
    if message.batch is None:
        tally.advance(offset, message.time * SECOND)
        return
    value = encode(message.batch)
    if not tally.apply_encoded(offset, message.time * SECOND, value):
        record = decode_raw_delta(value)
        assert isinstance(record, RawDeltaBatch)
        tally.apply(offset, message.time * SECOND, record)


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    """A delta of now, of the past or of a minute in the future."""
    ago = draw(
        st.sampled_from([0, 0, 0, 60, -180, 300, HOUR, HOUR, 5 * HOUR, DAY, 25 * HOUR, 40 * DAY])
    )
    sign = draw(st.sampled_from([1, 1, -1]))
    cells = draw(st.sampled_from([[], [0, 0, 1], [0, 1, 2, 1, 1, 1]]))
    cells = [n * sign if i % 3 == 2 else n for i, n in enumerate(cells)]
    totals = (sign * draw(st.integers(1, 3)), sign, 0, 0, sign, sign * 500_000, 0)
    minute = (START - ago) // MINUTE
    model, basis = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    return Delta(model, basis, minute, totals, cells, draw(sums(sign)))


@st.composite
def sums(draw: st.DrawFn, sign: int) -> list[int | str]:
    """Packed sums of the labels x and y, some of them longer than 64 or 128 bits."""
    key = st.tuples(
        st.sampled_from([0, 1, 2, 3, 50, 51]), st.sampled_from("xy"), st.integers(-1, 2)
    )
    amount = st.sampled_from([1, 1, 2, 300, 2**62, 2**63, 10**36, 2**127, -(2**127), 2**140])
    found = draw(st.dictionaries(key, amount, max_size=4))
    return pack_sums({key: sign * n for key, n in found.items()}, {"x": 0, "y": 1})


@st.composite
def sources(draw: st.DrawFn, source: int) -> list[DeltaBatch]:
    """All batches of one source partition, in order."""
    batches: list[DeltaBatch] = []
    offset = -1
    for step in draw(st.lists(st.integers(1, 3), min_size=3, max_size=8)):
        prev, offset = offset, offset + step
        changes = draw(st.lists(deltas(), min_size=1, max_size=2))
        batches.append(
            DeltaBatch(VERSION, LOG_ID, source, offset, prev, MODELS, ["x", "y"], changes)
        )
    return batches


@st.composite
def sendings(draw: st.DrawFn, batches: list[DeltaBatch]) -> list[DeltaBatch]:
    """The batches that arrive: some are lost, until a restarted sender sends them and all later ones."""
    arrived: list[DeltaBatch] = []
    at, safe = 0, len(batches)  # a restart must not skip a lost batch
    for step in draw(st.lists(st.sampled_from(["send", "send", "lose", "start"]), max_size=10)):
        if step == "start":
            at = draw(st.integers(0, min(at, safe)))
            safe = len(batches)
        elif at < len(batches):
            if step == "send":
                arrived.append(batches[at])
            else:
                safe = min(safe, at)
            at += 1
    return arrived + batches[min(at, safe) :]


@st.composite
def logs(draw: st.DrawFn, time_passes: bool) -> tuple[list[Message], list[DeltaBatch]]:
    """A log, and all its batches without repetitions."""
    by_source = [draw(sources(source)) for source in range(draw(st.integers(1, 3)))]
    waiting = [draw(sendings(batches)) for batches in by_source]
    steps = [0] * 8 + ([70, 5 * HOUR, 26 * HOUR, 40 * DAY] if time_passes else [])
    now = START
    sent: set[tuple[int, int]] = set()
    messages: list[Message] = []
    while any(waiting):
        now += draw(st.sampled_from(steps))
        source = draw(
            st.sampled_from([i for i, remaining in enumerate(waiting) if remaining] + [-1])
        )
        messages.append(Message(now, waiting[source].pop(0) if source >= 0 else None))
        batch = messages[-1].batch
        if batch is not None and (batch.source, batch.offset) not in sent:
            sent.add((batch.source, batch.offset))
            for delta in batch.deltas:  # times are relative to the first time they are sent
                delta.minute += (now - START) // MINUTE
    return messages, [batch for batches in by_source for batch in batches]


def reference_sums(batches: Iterable[DeltaBatch]) -> Buckets:
    """The sums of all deltas in all tiers (counting rules 15 and 16)."""
    sums: Buckets = {}
    for batch in batches:
        for delta in batch.deltas:
            whole = unpack(delta, batch.labels)
            sums_of_windows = {key: n for key, n in whole.sums.items() if key[0] not in DELAYS}
            for tier, (_, size, _) in enumerate(TIERS):
                counts = whole
                if tier not in (HOURS, ALL):
                    counts = Counts(*whole.totals(), whole.cells, sums_of_windows)
                bucket = delta.minute * MINUTE // size if size else 0
                key = (tier, batch.models[delta.model], delta.basis, bucket)
                sums.setdefault(key, Counts()).add(counts)
    return {key: counts for key, counts in sums.items() if not counts.is_empty()}


def counts_in(tally: Tally) -> Buckets:
    """The counts in a tally."""
    list(tally.window_counts(0.0))  # adds fresh changes to the tiers
    return {
        (tier, model, basis, bucket): Counts(
            *counts.totals(), dict(counts.cells), {**counts.sums, **counts.delays}
        )
        for model, one in tally.models.items()
        for tier, bases in enumerate(one.tiers)
        for basis, buckets in enumerate(bases)
        for bucket, counts in buckets.items()
        if not counts.is_empty()
    }


def retained(buckets: Buckets, log_time: int) -> Buckets:
    """The counts that every tally must have at a log time (s): none below a tier's retention floor, and
    no sums of minutes below theirs."""
    found: Buckets = {}
    for key, counts in buckets.items():
        tier, _, _, bucket = key
        _, size, keep = TIERS[tier]
        if keep and bucket < (log_time - keep) // size:
            continue
        if tier == MINUTES and bucket < (log_time - SUMS_KEEP) // MINUTE:
            counts = Counts(*counts.totals(), counts.cells)
        if not counts.is_empty():
            found[key] = counts
    return found


def decoded(blocks: Iterable[tuple[BlockKey, bytes]]) -> dict[BlockKey, BucketBlock]:
    """The values of a flush, as a start reads them."""
    return {key: msgspec.msgpack.decode(value, type=BucketBlock) for key, value in blocks}


class WholeFlush:
    """All values of a flush; ``fold`` is called after each block, and may fold further deltas."""

    def __init__(self, tally: Tally, fold: Callable[[], None] = lambda: None) -> None:
        flush = tally.flush()
        self.blocks: list[tuple[BlockKey, bytes]] = []
        for written in flush.blocks:
            if written is not None:
                key, block = written
                self.blocks.append((key, encode(block)))
            fold()
        self.expired = flush.expired
        self.manifest = flush.manifest()
        self.encoded_manifest = encode(self.manifest)


class Table:
    """The table of checkpoints: encoded values by key, written one by one."""

    def __init__(self) -> None:
        self.manifest: bytes | None = None
        self.blocks: dict[BlockKey, bytes] = {}

    def write(self, flush: WholeFlush, blocks: Iterable[int], manifest: bool) -> None:
        """Write some of a flush's blocks, by position; with ``manifest`` the manifest too, and remove
        the expired blocks."""
        for i in blocks:
            if i < len(flush.blocks):
                key, block = flush.blocks[i]
                self.blocks[key] = block
        if manifest:
            for key in flush.expired:
                self.blocks.pop(key, None)
            self.manifest = flush.encoded_manifest

    def restore(self) -> tuple[Tally, int]:
        """A tally that starts from the table, and the offset to read the log from."""
        tally = new_tally()
        blocks = decoded(self.blocks.items())
        manifest = self.manifest and msgspec.msgpack.decode(self.manifest, type=CheckpointManifest)
        return tally, tally.restore(manifest or None, blocks)
