"""The state of an app as the blocks of a savepoint.

What the requests in memory count is subtracted from the counts: a load folds the requests again, and
this adds it. What a request counts is what a fold of it sends, so both are the same by construction.
"""

from collections.abc import Iterator, Sequence

from processor.domain.join.fold import JoinFold
from processor.domain.join.loading import apply_loaded
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import RawDeltaBatch
from processor.domain.log.loaded import LoadedBucket, LoadedRequests
from processor.domain.log.observations import SCHEMA_VERSION, answer_rows
from processor.domain.log.records import decode_raw_delta, encode
from processor.domain.model_key import ModelKey
from processor.domain.savepoint.contents import (
    BaseCounts,
    Block,
    End,
    Fingerprints,
    ModelTotals,
    Requests,
    Tables,
)
from processor.domain.savepoint.rows import RequestReader
from processor.domain.savepoint.selection import request_blocks
from processor.domain.statistics.counts import BASES
from processor.domain.tally.bucket_counts import ALL as ALL_PARTS
from processor.domain.tally.bucket_counts import BucketCounts
from processor.domain.tally.model_tally import ModelTally, retention_floors
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import ALL, TIERS
from processor.telemetry import Telemetry

#: The most identities of a block, and about the most bytes of the counts of a block.
_MAX_IDS, _MAX_BYTES = 1 << 16, 1 << 20
#: The rows that are folded at a time: these records are on no log, so they may be large.
_MAX_ROWS = 1 << 16
#: A log hour that no request reaches.
_NEVER = (1 << 32) - 1


class StateSaver:
    """Makes the blocks of a savepoint from the states of all partitions of the join, and then from the
    tallies. ``log_times`` (ns) are those of the tallies before, by partition of the deltas. ``parts`` of
    the counts are in the tallies: those of an older schema have no sums of statistics."""

    def __init__(self, log_times: Sequence[int], parts: int = ALL_PARTS) -> None:
        self.requests = self.fingerprints = 0
        self._contributions = [Tally(SCHEMA_VERSION, "", ()) for _ in log_times]
        for tally, log_time in zip(self._contributions, log_times, strict=True):
            tally.log_time = log_time
        self._sent = 0
        self._parts = parts
        self._rows_differ = self._ambiguous = 0
        self._not_scorable: dict[str, int] = {}
        self._totals: dict[ModelKey, ModelTotals] = {}

    def partition(self, number: int, state: JoinState) -> Iterator[Block]:
        """Yield the blocks of a partition of the join, whose state must not change meanwhile."""
        schemas, answers = answer_rows(state.answers)
        tables = Tables(state.models, schemas, answers, state.truths)
        yield tables
        reader = RequestReader(tables, 1, _MAX_ROWS)
        fold = JoinFold("", 0, len(self._contributions), None, Telemetry())
        for block in request_blocks(state):
            yield block
            self._count(reader, block, fold)
            self.requests += block.count
        self._note_diagnostics(state, fold.state)
        yield from self._fingerprints(number, state)

    def _count(self, reader: RequestReader, block: Requests, fold: JoinFold) -> None:
        """Add what the requests of a block count to the contributions, by a fold of these alone."""
        for _, batches in reader.batches(block, ""):
            self._sent += 1
            position = fold.state.loaded + 1
            record = LoadedRequests(SCHEMA_VERSION, "", position, block.hour, batches)
            for target, deltas in apply_loaded(fold, self._sent, 0, record).items():
                batch = decode_raw_delta(encode(deltas))
                assert isinstance(batch, RawDeltaBatch)
                batch.prev = -1
                tally = self._contributions[target]
                tally.apply(0, 0, batch)
                for model in batch.models:
                    _applied(tally, model, tally.log_time)
            fold.evict(_NEVER)

    def _note_diagnostics(self, state: JoinState, counted: JoinState) -> None:
        """Keep the diagnostics of a state less those of its requests."""
        self._rows_differ += state.rows_differ - counted.rows_differ
        self._ambiguous += state.ambiguous - counted.ambiguous
        for sign, reasons in ((1, state.not_scorable), (-1, counted.not_scorable)):
            for reason, items in reasons.items():
                known = self._not_scorable.get(reason, 0)
                self._not_scorable[reason] = known + sign * items

    def _fingerprints(self, number: int, state: JoinState) -> Iterator[Fingerprints]:
        slots = memoryview(state.completed_ids.content()).cast("Q")
        for start in range(0, len(slots), 2 * _MAX_IDS):
            ids = [each for each in slots[start : start + 2 * _MAX_IDS] if each]
            self.fingerprints += len(ids)
            packed = b"".join(each.to_bytes(8, "little") for each in ids)
            hour, until = state.completed_hour, state.completed_until
            yield Fingerprints(number, hour, until, packed)

    def counts(self, tallies: Sequence[Tally]) -> Iterator[BaseCounts]:
        """Subtract what the requests count from the tallies, by partition of the deltas, and yield the
        rest."""
        for tally, contribution in zip(tallies, self._contributions, strict=True):
            contribution.log_time = max(contribution.log_time, tally.log_time)
            floors = retention_floors(contribution.log_time)
            for key in sorted({*tally.models, *contribution.models}):
                whole = _applied(tally, key, contribution.log_time)
                self._note_totals(key, whole)
                _subtract(whole, _applied(contribution, key, contribution.log_time), self._parts)
            yield from _blocks(tally, contribution.log_time, floors.tiers)

    def _note_totals(self, key: ModelKey, whole: ModelTally) -> None:
        counts = whole.tiers[ALL][0].get(0)
        if counts is not None:
            predictions, judged, correct, _, rewards, *_ = counts.totals()
            self._totals[key] = ModelTotals(key, predictions, judged, correct, rewards)

    def end(self, evicted: int) -> End:
        """Make the last block; requests from before ``evicted`` (ns) may have left memory."""
        reasons = {reason: items for reason, items in self._not_scorable.items() if items}
        models = [self._totals[key] for key in sorted(self._totals)]
        return End(
            self.requests, self.fingerprints, evicted, self._rows_differ, self._ambiguous, reasons,
            models,
        )  # fmt: skip


def _applied(tally: Tally, key: ModelKey, log_time: int) -> ModelTally:
    """The counts of a model, a new one if there is none, with all changes, as of a log time (ns)."""
    one = tally.model(key)
    one.apply_fresh(retention_floors(log_time))
    return one


def _subtract(whole: ModelTally, part: ModelTally, parts: int) -> None:
    """Subtract some parts of the buckets of a model from its others."""
    for tier in range(len(TIERS)):
        for basis in range(len(BASES)):
            buckets = whole.tiers[tier][basis]
            for bucket, counts in part.tiers[tier][basis].items():
                labels: dict[str, int] = {}
                packed = counts.pack(labels)
                if packed is None:
                    continue
                totals, cells, sums, delays = packed
                if bucket not in buckets:
                    buckets[bucket] = whole.new_counts()
                copy = whole.new_counts()
                copy.load(totals, cells, list(labels), sums, delays)
                buckets[bucket].change(copy, -1, parts)


def _buckets(
    one: ModelTally, floors: Sequence[int]
) -> Iterator[tuple[int, int, int, BucketCounts]]:
    """The tier, basis, number and counts of each bucket of a model that has not expired."""
    for tier, bases in enumerate(one.tiers):
        for basis, buckets in enumerate(bases):
            for bucket, counts in sorted(buckets.items()):
                if tier == ALL or bucket >= floors[tier]:
                    yield tier, basis, bucket, counts


def _blocks(tally: Tally, log_time: int, floors: Sequence[int]) -> Iterator[BaseCounts]:
    """The counts of a tally that have not expired, in blocks."""
    models: list[ModelKey] = []
    labels: dict[str, int] = {}
    buckets: list[LoadedBucket] = []
    size = 0
    for key in sorted(tally.models):
        models.append(key)
        for tier, basis, bucket, counts in _buckets(tally.models[key], floors):
            packed = counts.pack(labels)
            if packed is not None:
                buckets.append((len(models) - 1, tier, basis, bucket, *packed))
                size += 50 + 8 * len(packed[1]) + len(packed[2]) + len(packed[3])
            if size >= _MAX_BYTES:
                yield BaseCounts(log_time, models, list(labels), buckets)
                models, labels, buckets, size = [key], {}, [], 0
    if buckets:
        yield BaseCounts(log_time, models, list(labels), buckets)
