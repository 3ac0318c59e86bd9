"""Requests of a savepoint as the batches of observations that the join folds again."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.join.requests.codec import RequestCodec
from processor.domain.join.requests.request import (
    FeedbackRegister,
    PredictionRegister,
    Request,
)
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import (
    SCHEMA_VERSION,
    FeedbackRow,
    IngestMode,
    ObservationBatch,
    PredictionRow,
    Values,
    answer_bytes,
    answer_rows,
    model_bytes,
    truth_bytes,
)
from processor.domain.native import native, use_native
from processor.domain.savepoint.columns import unpack_requests
from processor.domain.savepoint.contents import Requests, Tables
from processor.domain.values import Answer

#: The most rows of a record, and about the most bytes of its dictionaries and values.
MAX_ROWS, MAX_BYTES = 2000, 2 << 20
#: The most registers that are kept by their bytes.
_MAX_KNOWN = 10_000

_encode = msgspec.msgpack.Encoder().encode


class StoredRequest(NamedTuple):
    """A request of a savepoint: its id, the times (ns) of its predictions and then of its feedbacks, and
    its registers, whose own times mean nothing."""

    request_id: str
    times: tuple[int, ...]
    registers: Request


class Rows(NamedTuple):
    """The rows of a record, as MessagePack, for a ``partition`` of the observations. ``models``,
    ``answers`` and ``truths`` are positions in the tables, to which the rows refer by position."""

    partition: int
    models: list[int]
    answers: list[int]
    truths: list[int]
    predictions: bytes
    feedbacks: bytes


class RequestReader:
    """Reads the blocks of requests that follow a block of tables, for an app with so many partitions;
    a record gets about ``max_rows`` rows."""

    def __init__(self, tables: Tables, partitions: int, max_rows: int = MAX_ROWS) -> None:
        self.max_rows = max_rows
        self._tables = tables
        self._partitions = partitions
        self._answers = [
            Answer(
                row.label, row.reason, row.mode, tables.schemas[row.schema], row.width, row.labels
            )
            for row in tables.answers
        ]
        self._codec = RequestCodec(self._answers, tables.truths)
        self.sizes = (
            [model_bytes(model) for model in tables.models],
            [answer_bytes(answer) for answer in self._answers],
            [truth_bytes([truth]) for truth in tables.truths],
        )
        """The bytes, or somewhat more, that each model, answer and truth takes in a dictionary."""
        #: Requests by all of their bytes but the times, which are equal for most of a kind.
        self._known: dict[bytes, Request] = {}
        self._native = None
        if use_native:
            bases = [self._codec.base_of_prediction(each) for each in range(len(self._answers))]
            limits = partitions, max_rows, MAX_BYTES
            of_feedback = self._codec.base_of_feedback
            self._native = native.RowWriter(limits, self.sizes, bases, of_feedback)

    def batches(self, block: Requests, log_id: str) -> Iterator[tuple[int, list[ObservationBatch]]]:
        """Yield the partition and the batches of each record. Those of a partition are folded in this
        order, at one log time. `ValueError` if the block is malformed."""
        written = (
            self.rows(block)
            if self._native is None
            else itertools.starmap(Rows, self._native.write(*msgspec.structs.astuple(block)))
        )
        for rows in written:
            yield rows.partition, self._batches(rows, log_id, block.restored)

    def rows(self, block: Requests) -> Iterator[Rows]:
        """Yield the rows of each record, by partition. `ValueError` if the block is malformed."""
        writers = [_RowWriter(self, number) for number in range(self._partitions)]
        for request in self._read(block):
            writers[partition_of(request.request_id, self._partitions)].add(request)
        for writer in writers:
            yield from writer.written()

    def _read(self, block: Requests) -> Iterator[StoredRequest]:
        known = self._known
        for request_id, parts in unpack_requests(block):
            key = parts.numbers + parts.registers
            request = known.get(key)
            if request is None:
                request = self._codec.unpack(parts.join())
                if len(known) >= _MAX_KNOWN:
                    known.clear()
                known[key] = request
            yield StoredRequest(request_id, parts.times, request)

    def _batches(self, rows: Rows, log_id: str, restored: bool) -> list[ObservationBatch]:
        """Make the batches of a record. Predictions that were restored say so again, and come last."""
        normal, none = IngestMode.NORMAL, _encode([])
        if not restored:
            return [self._batch(rows, log_id, normal)]
        return [
            self._batch(rows._replace(predictions=none), log_id, normal),
            self._batch(rows._replace(feedbacks=none), log_id, IngestMode.RESTORED),
        ]

    def _batch(self, rows: Rows, log_id: str, mode: IngestMode) -> ObservationBatch:
        tables = self._tables
        schemas, answers = answer_rows([self._answers[each] for each in rows.answers])
        return ObservationBatch(
            SCHEMA_VERSION,
            log_id,
            [tables.models[each] for each in rows.models],
            schemas,
            answers,
            [tables.truths[each] for each in rows.truths],
            msgspec.Raw(rows.predictions),
            msgspec.Raw(rows.feedbacks),
            mode,
        )


class _Positions(dict[int, int]):
    """Positions in a batch's dictionary by those in the tables, which are added when they are used;
    ``bytes`` is about the size of the dictionary."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.bytes = 0
        self._sizes = sizes

    def __missing__(self, position: int) -> int:
        self.bytes += self._sizes[position]
        new = self[position] = len(self)
        return new

    def all(self, packed: int | list[int]) -> int | list[int]:
        """The new positions of the items of a register."""
        return self[packed] if isinstance(packed, int) else [self[each] for each in packed]


class _RowWriter:
    """Writes the rows of the records of a partition."""

    def __init__(self, reader: RequestReader, partition: int) -> None:
        self._sizes = reader.sizes
        self._max_rows = reader.max_rows
        self._partition = partition
        self._written: list[Rows] = []
        self._clear()

    def _clear(self) -> None:
        self._count = self._bytes = 0
        self._models, self._answers, self._truths = map(_Positions, self._sizes)
        self._predictions: list[PredictionRow] = []
        self._feedbacks: list[FeedbackRow] = []

    def add(self, stored: StoredRequest) -> None:
        """Add a request."""
        request_id, times, request = stored
        predictions = len(request.predictions)
        for prediction, time in zip(request.predictions, times[:predictions], strict=True):
            self._add_prediction(request_id, time, prediction)
        for feedback, time in zip(request.feedbacks, times[predictions:], strict=True):
            self._add_feedback(request_id, time, feedback)
        dictionaries = self._models.bytes + self._answers.bytes + self._truths.bytes
        if self._count >= self._max_rows or self._bytes + dictionaries >= MAX_BYTES:
            self._flush()

    def _add_prediction(self, request_id: str, time: int, register: PredictionRegister) -> None:
        self._count += 1 if isinstance(register.answers, int) else len(register.answers)
        self._bytes += _size(register.values)
        self._predictions.append(
            PredictionRow(
                request_id,
                self._models[register.model],
                time,
                register.source_rank,
                register.digest,
                self._answers.all(register.answers),
                register.provisional,
                register.values,
            )
        )

    def _add_feedback(self, request_id: str, time: int, register: FeedbackRegister) -> None:
        truth = register.truth
        self._count += 1 if truth is None or isinstance(truth, int) else len(truth)
        self._bytes += _size(register.values)
        self._feedbacks.append(
            FeedbackRow(
                request_id,
                self._models[register.scope],
                time,
                register.source_rank,
                register.digest,
                None if truth is None else self._truths.all(truth),
                register.reward,
                register.values,
            )
        )

    def _flush(self) -> None:
        rows = _encode(self._predictions), _encode(self._feedbacks)
        tables = list(self._models), list(self._answers), list(self._truths)
        self._written.append(Rows(self._partition, *tables, *rows))
        self._clear()

    def written(self) -> list[Rows]:
        """The rows of all records."""
        if self._count:
            self._flush()
        return self._written


def _size(values: Values) -> int:
    if values is None:
        return 0
    return len(values) if isinstance(values, bytes) else sum(map(len, values))
