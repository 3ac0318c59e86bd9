"""Facts about requests: a prediction was made, a feedback was given; and batches of them.

An observation is what an event says once it is understood. A batch packs many for one record of the
log: repeated values stand once in its tables, rows point at them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processor.domain.counts import ModelKey
from processor.domain.labels import Answer, Reading, Schema

#: Ranks of sources in a version (counting rule 12): an event is above an archive's document.
DOCUMENT, EVENT = 0, 1


class Prediction(NamedTuple):
    """One model's answer to a request. ``time`` in ns since 1970; ``weak`` by counting rule 14."""

    model: ModelKey
    request_id: str
    time: int
    rank: int
    digest: int
    answers: tuple[Answer, ...]
    weak: bool = False


class Feedback(NamedTuple):
    """A judgement of a request. ``scope`` names what it is about; predictor and model are empty
    where it names none. ``reward`` in millionths."""

    scope: ModelKey
    request_id: str
    time: int
    rank: int
    digest: int
    truth: tuple[Reading, ...] | None
    reward: int | None


class PredictionRow(msgspec.Struct, array_like=True, gc=False):
    """A prediction in a batch; ``model`` and ``answers`` (one, or a list for several items) are
    positions in the batch's tables."""

    request_id: str
    model: int
    time: int
    rank: int
    digest: int
    answers: int | list[int]
    weak: bool


class FeedbackRow(msgspec.Struct, array_like=True, gc=False):
    """A feedback in a batch; ``scope`` and ``truth`` are positions in the batch's tables."""

    request_id: str
    scope: int
    time: int
    rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None


class AnswerRow(msgspec.Struct, array_like=True, gc=False):
    """An answer in a batch's table; ``schema`` is a position in the table of schemas."""

    label: str | None
    reason: str | None
    mode: int
    schema: int


class ObservationBatch(msgspec.Struct, array_like=True, tag="o"):
    """Observations of one partition, and the tables that their rows point into."""

    version: int
    epoch: str
    models: list[ModelKey]
    schemas: list[Schema]
    answers: list[AnswerRow]
    truths: list[Reading]
    predictions: list[PredictionRow]
    feedbacks: list[FeedbackRow]
    terms: int = 0
    """One of the terms below."""


class PackedBatch(msgspec.Struct, array_like=True, tag="o"):
    """An `ObservationBatch`, field by field, whose rows are still as they are on the log."""

    version: int
    epoch: str
    models: list[ModelKey]
    schemas: list[Schema]
    answers: list[AnswerRow]
    truths: list[Reading]
    predictions: msgspec.Raw
    feedbacks: msgspec.Raw
    terms: int = 0


read_predictions = msgspec.msgpack.Decoder(list[PredictionRow]).decode
read_feedbacks = msgspec.msgpack.Decoder(list[FeedbackRow]).decode
_encode = msgspec.msgpack.Encoder().encode


class Rows(NamedTuple):
    """Rows of a builder's tables that are packed already: how many predictions, one after another,
    and how many feedbacks."""

    predictions: int
    made: bytes
    feedbacks: int
    said: bytes


#: How the rows of a batch are taken.
AS_THEY_ARE = 0
#: Only about requests that are still in memory: what is older was counted before it left.
KNOWN_ONLY = 1
#: Predictions with their feedback, all that there is of each request: counted once, and not kept.
SETTLED = 2
#: Predictions that were counted and have left memory: for the feedback that waits for them.
RECALLED = 3
#: Predictions that were counted and have left memory; the feedback that waits for them is late.
TOO_LATE = 4

#: Version of the packed form, of both batches; a reader refuses every other.
SCHEMA_VERSION = 2


class BatchBuilder:
    """Packs observations into a batch; every one of them must be of one partition of the log."""

    __slots__ = (
        "_answers",
        "_models",
        "_packed",
        "_schemas",
        "_truths",
        "feedbacks",
        "predictions",
        "rows",
        "table_bytes",
    )

    def __init__(self) -> None:
        self._reset_tables()
        self._reset_rows()

    def _reset_rows(self) -> None:
        self.rows = 0
        """How many rows of answers and truths are packed: a measure of the record's size."""
        self.predictions: list[PredictionRow] = []
        """The rows so far, for a caller that has others of the same answers to put behind them."""
        self.feedbacks: list[FeedbackRow] = []
        self._packed: list[Rows] = []

    def _reset_tables(self) -> None:
        self.table_bytes = 0
        """How many bytes the texts in the tables take, at the most: they can differ from row to
        row."""
        self._models: dict[ModelKey, int] = {}
        self._schemas: dict[Schema, int] = {}
        self._answers: dict[Answer, int] = {}
        self._truths: dict[Reading, int] = {}

    def add(self, observation: Prediction | Feedback) -> None:
        """Add one observation."""
        models = len(self._models)
        if isinstance(observation, Prediction):
            model, request_id, time, rank, digest, answers, weak = observation
            table = self._answers
            known = len(table)
            self.predictions.append(
                PredictionRow(
                    request_id,
                    self._models.setdefault(model, len(self._models)),
                    time,
                    rank,
                    digest,
                    table.setdefault(answers[0], len(table))
                    if len(answers) == 1
                    else [table.setdefault(answer, len(table)) for answer in answers],
                    weak,
                )
            )
            self.rows += len(answers)
            if len(table) > known:
                self.table_bytes += sum(map(_weight, answers))
        else:
            scope, request_id, time, rank, digest, truth, reward = observation
            truths = self._truths
            known = len(truths)
            packed: int | list[int] | None = None
            if truth is not None:
                positions = [truths.setdefault(row, len(truths)) for row in truth]
                packed = positions[0] if len(positions) == 1 else positions
            self.feedbacks.append(
                FeedbackRow(
                    request_id,
                    self._models.setdefault(scope, len(self._models)),
                    time,
                    rank,
                    digest,
                    packed,
                    reward,
                )
            )
            self.rows += 1 if truth is None else len(truth)
            if truth is not None and len(truths) > known:
                self.table_bytes += sum(_most_bytes(str(row.value)) for row in truth)
        self._weigh_models(models)

    def place(self, observation: Prediction | Feedback) -> tuple[bytes, bytes]:
        """What rows of one item hold that say what ``observation`` says: between their ids and their
        times, and after these."""
        if isinstance(observation, Prediction):
            model, _, _, rank, digest, (answer,), weak = observation
            table = self._answers
            known = len(table)
            rest: tuple[object, ...] = (rank, digest, table.setdefault(answer, known), weak)
            if len(table) > known:
                self.table_bytes += _weight(answer)
        else:
            model, _, _, rank, digest, truth, reward = observation
            truths, position = self._truths, None
            known = len(truths)
            if truth is not None:
                (reading,) = truth
                position = truths.setdefault(reading, known)
                if len(truths) > known:
                    self.table_bytes += _most_bytes(str(reading.value))
            rest = (rank, digest, position, reward)
        models = len(self._models)
        scope = self._models.setdefault(model, models)
        self._weigh_models(models)
        return _encode(scope), b"".join(map(_encode, rest))

    def _weigh_models(self, known: int) -> None:
        """Count the names of a model beyond those known before."""
        if len(self._models) > known:
            self.table_bytes += sum(map(_most_bytes, next(reversed(self._models))))

    def add_rows(self, rows: Rows) -> None:
        """Add rows that are packed, with what `place` gave them."""
        self._packed.append(rows)
        self.rows += rows.predictions + rows.feedbacks

    def pack(self, epoch: str, terms: int = AS_THEY_ARE, keep_tables: bool = False) -> PackedBatch:
        """As `build`, with rows as they are on the log."""
        packed = self._packed
        batch = self.build(epoch, terms, keep_tables)
        return PackedBatch(
            batch.version,
            batch.epoch,
            batch.models,
            batch.schemas,
            batch.answers,
            batch.truths,
            _merged([(rows.predictions, rows.made) for rows in packed], batch.predictions),
            _merged([(rows.feedbacks, rows.said) for rows in packed], batch.feedbacks),
            batch.terms,
        )

    def build(
        self, epoch: str, terms: int = AS_THEY_ARE, keep_tables: bool = False
    ) -> ObservationBatch:
        """The batch of all that was added; the builder is empty after it, but for its tables where
        the next batch is to have the same."""
        schemas = self._schemas
        answers = [
            AnswerRow(label, reason, mode, schemas.setdefault(schema, len(schemas)))
            for label, reason, mode, schema in self._answers
        ]
        batch = ObservationBatch(
            SCHEMA_VERSION,
            epoch,
            list(self._models),
            list(schemas),
            answers,
            list(self._truths),
            self.predictions,
            self.feedbacks,
            terms,
        )
        self._reset_rows()
        if not keep_tables:
            self._reset_tables()
        return batch


def _merged(
    packed: Sequence[tuple[int, bytes]], others: Sequence[PredictionRow | FeedbackRow]
) -> msgspec.Raw:
    """A list of rows."""
    if not packed:
        return msgspec.Raw(_encode(others))
    count = sum(rows for rows, _ in packed) + len(others)
    parts = [b"\xdd", count.to_bytes(4, "big"), *(made for _, made in packed)]
    return msgspec.Raw(b"".join([*parts, *map(_encode, others)]))


def _weight(answer: Answer) -> int:
    names = answer.schema.names or ()
    return _most_bytes(answer.label or "") + sum(map(_most_bytes, names))


def _most_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
