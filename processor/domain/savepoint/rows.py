"""Requests of a savepoint as the batches of observations that the join folds again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.join.requests.codec import RequestCodec
from processor.domain.join.requests.request import (
    FeedbackRegister,
    PredictionRegister,
    Request,
    positions,
)
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
from processor.domain.savepoint.columns import unpack_requests
from processor.domain.savepoint.contents import Requests, Tables
from processor.domain.values import Answer

#: The most rows of a record, and about the most bytes of its dictionaries and values.
_MAX_ROWS, _MAX_BYTES = 2000, 2 << 20
#: The most registers that are kept by their bytes.
_MAX_KNOWN = 10_000

_encode = msgspec.msgpack.Encoder().encode


class StoredRequest(NamedTuple):
    """A request of a savepoint: its id, the times (ns) of its predictions and then of its feedbacks, and
    its registers, whose own times mean nothing."""

    request_id: str
    times: tuple[int, ...]
    registers: Request


class RequestReader:
    """Reads the blocks of requests that follow a block of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.answers = [
            Answer(
                row.label, row.reason, row.mode, tables.schemas[row.schema], row.width, row.labels
            )
            for row in tables.answers
        ]
        self._codec = RequestCodec(self.answers, tables.truths)
        #: Requests by all of their bytes but the times, which are equal for most of a kind.
        self._known: dict[bytes, Request] = {}

    def read(self, block: Requests) -> Iterator[StoredRequest]:
        """Yield the requests of a block. `ValueError` if it is malformed."""
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

    def batches(
        self, requests: Iterable[StoredRequest], log_id: str, restored: bool
    ) -> Iterator[list[ObservationBatch]]:
        """Yield the batches of each record; they are folded in this order, at one log time. Those of
        predictions that were restored say so again, once the feedback is there."""
        rows = _Rows(self)
        for request in requests:
            rows.add(request)
            if rows.count >= _MAX_ROWS or rows.bytes >= _MAX_BYTES:
                yield rows.build(log_id, restored)
                rows = _Rows(self)
        if rows.count:
            yield rows.build(log_id, restored)


class _Positions(dict[int, int]):
    """Positions in a batch's dictionary by those in the tables, which are added when they are used."""

    def __missing__(self, position: int) -> int:
        new = self[position] = len(self)
        return new

    def all(self, packed: int | list[int]) -> int | list[int]:
        """The new positions of the items of a register."""
        return self[packed] if isinstance(packed, int) else [self[each] for each in packed]


class _Rows:
    """The rows of a record."""

    def __init__(self, reader: RequestReader) -> None:
        self.count = self.bytes = 0
        self._reader = reader
        self._models, self._answers, self._truths = _Positions(), _Positions(), _Positions()
        self._predictions: list[PredictionRow] = []
        self._feedbacks: list[FeedbackRow] = []

    def add(self, stored: StoredRequest) -> None:
        """Add a request."""
        request_id, times, request = stored
        known, number = self._known(), 0
        for prediction in request.predictions:
            self._add_prediction(request_id, times[number], prediction)
            number += 1
        for feedback in request.feedbacks:
            self._add_feedback(request_id, times[number], feedback)
            number += 1
        if self._known() != known:
            self._measure(request)

    def _known(self) -> tuple[int, int, int]:
        return len(self._models), len(self._answers), len(self._truths)

    def _add_prediction(self, request_id: str, time: int, register: PredictionRegister) -> None:
        self.count += 1 if isinstance(register.answers, int) else len(register.answers)
        self.bytes += _size(register.values)
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
        self.count += 1 if truth is None or isinstance(truth, int) else len(truth)
        self.bytes += _size(register.values)
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

    def _measure(self, request: Request) -> None:
        """Add the bytes of the dictionaries' entries of a request, some of which may be known."""
        reader = self._reader
        models, answers, truths = reader.tables.models, reader.answers, reader.tables.truths
        for prediction in request.predictions:
            self.bytes += model_bytes(models[prediction.model])
            self.bytes += sum(answer_bytes(answers[each]) for each in positions(prediction.answers))
        for feedback in request.feedbacks:
            self.bytes += model_bytes(models[feedback.scope])
            if feedback.truth is not None:
                self.bytes += truth_bytes([truths[each] for each in positions(feedback.truth)])

    def build(self, log_id: str, restored: bool) -> list[ObservationBatch]:
        """Make the batches of all rows."""
        if not restored:
            return [self._batch(log_id, self._predictions, self._feedbacks, IngestMode.NORMAL)]
        return [
            self._batch(log_id, [], self._feedbacks, IngestMode.NORMAL),
            self._batch(log_id, self._predictions, [], IngestMode.RESTORED),
        ]

    def _batch(
        self,
        log_id: str,
        predictions: Sequence[PredictionRow],
        feedbacks: Sequence[FeedbackRow],
        mode: IngestMode,
    ) -> ObservationBatch:
        tables = self._reader.tables
        schemas, answers = answer_rows([self._reader.answers[each] for each in self._answers])
        return ObservationBatch(
            SCHEMA_VERSION,
            log_id,
            [tables.models[each] for each in self._models],
            schemas,
            answers,
            [tables.truths[each] for each in self._truths],
            msgspec.Raw(_encode(predictions)),
            msgspec.Raw(_encode(feedbacks)),
            mode,
        )


def _size(values: Values) -> int:
    if values is None:
        return 0
    return len(values) if isinstance(values, bytes) else sum(map(len, values))
