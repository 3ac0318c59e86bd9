"""Facts about requests: a prediction was made, a feedback was given; and batches of them.

An observation is what an event says once it is understood. A batch packs many for one record of the
log: repeated values stand once in its tables, rows point at them.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.values import Answer, Reading, Schema

T = TypeVar("T")

#: Ranks of sources in a version (counting rule 12): an event is above an archive's document.
DOCUMENT, EVENT = 0, 1


class Prediction(NamedTuple):
    """One model's answer to a request. ``time`` in ns since 1970; ``weak`` by counting rule 14."""

    model: ModelKey
    request_id: str
    time: int
    source_rank: int
    digest: int
    answers: tuple[Answer, ...]
    provisional: bool = False


class Feedback(NamedTuple):
    """A judgement of a request. ``scope`` names what it is about; predictor and model are empty
    where it names none. ``reward`` in millionths."""

    scope: ModelKey
    request_id: str
    time: int
    source_rank: int
    digest: int
    truth: tuple[Reading, ...] | None
    reward: int | None


class PredictionRow(msgspec.Struct, array_like=True, gc=False):
    """A prediction in a batch; ``model`` and ``answers`` (one, or a list for several items) are
    positions in the batch's tables."""

    request_id: str
    model: int
    time: int
    source_rank: int
    digest: int
    answers: int | list[int]
    provisional: bool


class FeedbackRow(msgspec.Struct, array_like=True, gc=False):
    """A feedback in a batch; ``scope`` and ``truth`` are positions in the batch's tables."""

    request_id: str
    scope: int
    time: int
    source_rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None


class AnswerRow(msgspec.Struct, array_like=True, gc=False):
    """An answer in a batch's table; ``schema`` is a position in the table of schemas."""

    label: str | None
    reason: str | None
    mode: int
    schema: int


class IngestMode(IntEnum):
    """How the join takes the rows of a batch."""

    NORMAL = 0
    """Fold every row."""
    IF_PRESENT = 1
    """Fold only rows about requests in memory: older ones were counted before they left."""
    COUNT_AND_DROP = 2
    """Predictions with their feedback, complete requests: count each once and do not keep it."""
    RESTORED = 3
    """Predictions that were counted and have left memory, for the feedback that waits for them."""
    EXPIRED = 4
    """Predictions that were counted and have left memory; the feedback that waits for them is late."""


_decode_predictions = msgspec.msgpack.Decoder(list[PredictionRow]).decode
_decode_feedbacks = msgspec.msgpack.Decoder(list[FeedbackRow]).decode
_encode = msgspec.msgpack.Encoder().encode


class ObservationBatch(msgspec.Struct, array_like=True, tag="o"):
    """Observations of one partition as they stand on the log, and the dictionaries that their rows
    point into. The rows stay encoded: the native extension reads them so."""

    version: int
    log_id: str
    models: list[ModelKey]
    schemas: list[Schema]
    answers: list[AnswerRow]
    truths: list[Reading]
    predictions: msgspec.Raw
    feedbacks: msgspec.Raw
    mode: int = 0
    """The `IngestMode` of all rows."""

    def prediction_rows(self) -> list[PredictionRow]:
        """The predictions, decoded."""
        return decode_predictions(self.predictions)

    def feedback_rows(self) -> list[FeedbackRow]:
        """The feedbacks, decoded."""
        return decode_feedbacks(self.feedbacks)


def decode_predictions(rows: bytes | msgspec.Raw) -> list[PredictionRow]:
    """The prediction rows of an encoded list."""
    return _decode_predictions(rows)


def decode_feedbacks(rows: bytes | msgspec.Raw) -> list[FeedbackRow]:
    """The feedback rows of an encoded list."""
    return _decode_feedbacks(rows)


class EncodedRows(NamedTuple):
    """Rows that the native extension has encoded: the number of predictions and their rows one after
    another, the same of feedbacks, and the dictionaries that they point into. An entry may stand in a
    dictionary twice."""

    predictions: int
    prediction_rows: bytes
    feedbacks: int
    feedback_rows: bytes
    models: list[ModelKey]
    answers: list[Answer]
    truths: list[Reading]


#: Version of the records' form, observations and deltas; a reader refuses every other.
SCHEMA_VERSION = 2


_NO_ROWS = EncodedRows(0, b"", 0, b"", [], [], [])


class BatchBuilder:
    """Packs observations into batches; all observations of a batch belong to one partition."""

    __slots__ = (
        "_answers",
        "_encoded",
        "_models",
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
        self._encoded: EncodedRows | None = None

    def _reset_tables(self) -> None:
        self.table_bytes = 0
        """How many bytes the texts in the tables take, at the most: they can differ from row to
        row."""
        self._models: dict[ModelKey, int] = {}
        self._answers: dict[Answer, int] = {}
        self._truths: dict[Reading, int] = {}

    def add(self, observation: Prediction | Feedback) -> None:
        """Add one observation."""
        models = len(self._models)
        if isinstance(observation, Prediction):
            model, request_id, time, source_rank, digest, answers, provisional = observation
            table = self._answers
            known = len(table)
            self.predictions.append(
                PredictionRow(
                    request_id,
                    self._models.setdefault(model, len(self._models)),
                    time,
                    source_rank,
                    digest,
                    table.setdefault(answers[0], len(table))
                    if len(answers) == 1
                    else [table.setdefault(answer, len(table)) for answer in answers],
                    provisional,
                )
            )
            self.rows += len(answers)
            if len(table) > known:
                self.table_bytes += sum(map(_approx_bytes, answers))
        else:
            scope, request_id, time, source_rank, digest, truth, reward = observation
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
                    source_rank,
                    digest,
                    packed,
                    reward,
                )
            )
            self.rows += 1 if truth is None else len(truth)
            if truth is not None and len(truths) > known:
                self.table_bytes += _truth_bytes(truth)
        self._weigh_models(models)

    def _weigh_models(self, known: int) -> None:
        """Count the names of a model beyond those known before."""
        if len(self._models) > known:
            self.table_bytes += _model_bytes(next(reversed(self._models)))

    def add_rows(self, rows: EncodedRows) -> None:
        """Add encoded rows, once for each batch."""
        assert self._encoded is None
        self._encoded = rows
        self.rows += rows.predictions + rows.feedbacks

    def build(
        self, log_id: str, mode: IngestMode = IngestMode.NORMAL, keep_dictionaries: bool = False
    ) -> ObservationBatch:
        """The batch of all rows that were added. The builder is empty afterwards; with
        ``keep_dictionaries`` the next batch starts with the same dictionaries."""
        encoded = self._encoded or _NO_ROWS
        models, model_positions = _append(encoded.models, self._models)
        answers, answer_positions = _append(encoded.answers, self._answers)
        truths, truth_positions = _append(encoded.truths, self._truths)
        if self._encoded is not None:
            for prediction in self.predictions:
                prediction.model = model_positions[prediction.model]
                prediction.answers = _moved(prediction.answers, answer_positions)
            for feedback in self.feedbacks:
                feedback.scope = model_positions[feedback.scope]
                if feedback.truth is not None:
                    feedback.truth = _moved(feedback.truth, truth_positions)
        schemas, answer_rows = _answer_rows(answers)
        batch = ObservationBatch(
            SCHEMA_VERSION,
            log_id,
            models,
            schemas,
            answer_rows,
            truths,
            _encoded_list(encoded.predictions, encoded.prediction_rows, self.predictions),
            _encoded_list(encoded.feedbacks, encoded.feedback_rows, self.feedbacks),
            mode,
        )
        self._reset_rows()
        if not keep_dictionaries:
            self._reset_tables()
        return batch


def packed_parts(
    observation: Prediction | Feedback,
) -> tuple[bool, tuple[ModelKey, int], bytes, tuple[Answer | Reading, int] | None, bytes]:
    """What rows of one item hold that say what ``observation`` says: whether they are of a feedback;
    the model, and what it weighs in a table; what follows the time, packed; the entry of a table of
    answers or truths with its weight, if there is one; and the rest, packed."""
    if isinstance(observation, Prediction):
        model, _, _, source_rank, digest, (answer,), provisional = observation
        content: tuple[Answer | Reading, int] | None = answer, _approx_bytes(answer)
        end = _encode(provisional)
    else:
        model, _, _, source_rank, digest, truth, reward = observation
        content = None if truth is None else (truth[0], _truth_bytes(truth))
        end = _encode(reward)
    middle = _encode(source_rank) + _encode(digest)
    feedback = isinstance(observation, Feedback)
    return feedback, (model, _model_bytes(model)), middle, content, end


def _answer_rows(answers: Iterable[Answer]) -> tuple[list[Schema], list[AnswerRow]]:
    """A dictionary of answers, and the one of schemas that it points into."""
    schemas: dict[Schema, int] = {}
    rows = [
        AnswerRow(label, reason, mode, schemas.setdefault(schema, len(schemas)))
        for label, reason, mode, schema in answers
    ]
    return list(schemas), rows


def _append(first: list[T], own: Mapping[T, int]) -> tuple[list[T], list[int]]:
    """A dictionary with the entries of ``own`` after the first ones, and the position of each entry
    of ``own`` in it."""
    if not first:
        return list(own), list(own.values())
    table = list(first)
    positions: list[int] = []
    if own:
        known = {entry: position for position, entry in enumerate(table)}
        for entry in own:
            position = known.get(entry, len(table))
            if position == len(table):
                table.append(entry)
            positions.append(position)
    return table, positions


def _moved(packed: int | list[int], positions: list[int]) -> int | list[int]:
    return positions[packed] if isinstance(packed, int) else [positions[one] for one in packed]


def _encoded_list(
    count: int, encoded: bytes, others: Sequence[PredictionRow | FeedbackRow]
) -> msgspec.Raw:
    """A list of rows: the encoded ones first."""
    if not count:
        return msgspec.Raw(_encode(others))
    head = b"\xdd" + (count + len(others)).to_bytes(4, "big")
    return msgspec.Raw(b"".join([head, encoded, *map(_encode, others)]))


def _model_bytes(model: ModelKey) -> int:
    return sum(map(_max_bytes, model))


def _truth_bytes(truth: Sequence[Reading]) -> int:
    return sum(_max_bytes(str(row.value)) for row in truth)


def _approx_bytes(answer: Answer) -> int:
    names = answer.schema.names or ()
    return _max_bytes(answer.label or "") + sum(map(_max_bytes, names))


def _max_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
