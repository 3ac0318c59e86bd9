"""Observations: predictions and feedback, and batches of them for the log.

An observation is the content of a decoded event. A batch encodes many for one record of the log:
repeated values stand once in its dictionaries, and its rows refer to them by position.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.values import Answer, Reading, Schema

T = TypeVar("T")

#: Source ranks in a version (counting rule 12): an event takes precedence over an archived document.
DOCUMENT, EVENT = 0, 1


class Prediction(NamedTuple):
    """One model's answer to a request. ``time`` is in ns since 1970, ``digest`` stands for the content
    (counting rule 12), ``answers`` has an entry per item; ``provisional`` is by counting rule 14.
    ``values`` are the packed probabilities or numbers of the items; empty if none has any."""

    model: ModelKey
    request_id: str
    time: int
    source_rank: int
    digest: int
    answers: tuple[Answer, ...]
    provisional: bool = False
    values: tuple[bytes, ...] = ()


class Feedback(NamedTuple):
    """Feedback on a request. ``scope`` is the model that it judges; an empty predictor or model means
    any. ``truth`` has a row per item, ``reward`` is in millionths; either can be None. ``values`` are
    the numbers of truth rows that have none in them, as doubles; empty if there are none."""

    scope: ModelKey
    request_id: str
    time: int
    source_rank: int
    digest: int
    truth: tuple[Reading, ...] | None
    reward: int | None
    values: tuple[bytes, ...] = ()


#: The packed values of one item, or of several; None if no item has any.
Values = bytes | list[bytes] | None


class PredictionRow(msgspec.Struct, array_like=True, gc=False):
    """A prediction in a batch; ``model`` and ``answers`` (one, or a list for several items) are
    positions in the batch's dictionaries."""

    request_id: str
    model: int
    time: int
    source_rank: int
    digest: int
    answers: int | list[int]
    provisional: bool
    values: Values = None


class FeedbackRow(msgspec.Struct, array_like=True, gc=False):
    """A feedback in a batch; ``scope`` and ``truth`` (one, or a list for several items) are positions
    in the batch's dictionaries."""

    request_id: str
    scope: int
    time: int
    source_rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None
    values: Values = None


class AnswerRow(msgspec.Struct, array_like=True, gc=False):
    """An answer in a batch's dictionary; ``schema`` is a position in the dictionary of schemas."""

    label: str | None
    reason: str | None
    mode: int
    schema: int
    width: int
    labels: tuple[str, ...]


class IngestMode(IntEnum):
    """How the join folds the rows of a batch."""

    NORMAL = 0
    """Fold every row."""
    IF_PRESENT = 1
    """Fold only rows of requests in memory: others were counted before they left memory."""
    COUNT_AND_DROP = 2
    """Complete requests, predictions with their feedback: count each once and do not keep it."""
    RESTORED = 3
    """Predictions that were counted and have left memory: apply the feedback that waits for them."""
    EXPIRED = 4
    """Predictions that were counted and have left memory: feedback that waits for them is late."""


_decode_predictions = msgspec.msgpack.Decoder(list[PredictionRow]).decode
_decode_feedbacks = msgspec.msgpack.Decoder(list[FeedbackRow]).decode
_encode = msgspec.msgpack.Encoder().encode


class ObservationBatch(msgspec.Struct, array_like=True, tag="o"):
    """Observations of one partition as they stand on the log, and the dictionaries that their rows
    refer to. The rows stay encoded, since the native extension reads them directly."""

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
    """Decode a list of prediction rows."""
    return _decode_predictions(rows)


def decode_feedbacks(rows: bytes | msgspec.Raw) -> list[FeedbackRow]:
    """Decode a list of feedback rows."""
    return _decode_feedbacks(rows)


class EncodedRows(NamedTuple):
    """Rows that the native extension has encoded: the number of predictions and their concatenated
    rows, the same for feedbacks, and the dictionaries that they refer to. A dictionary may contain an
    entry twice."""

    predictions: int
    prediction_rows: bytes
    feedbacks: int
    feedback_rows: bytes
    models: list[ModelKey]
    answers: list[Answer]
    truths: list[Reading]


#: The version of the record format, of observations and deltas; a reader refuses all others.
SCHEMA_VERSION = 3


_NO_ROWS = EncodedRows(0, b"", 0, b"", [], [], [])


class BatchBuilder:
    """Encodes observations as batches; all observations of a batch belong to one partition."""

    __slots__ = (
        "_answers",
        "_encoded",
        "_models",
        "_truths",
        "dictionary_bytes",
        "feedbacks",
        "predictions",
        "rows",
    )

    def __init__(self) -> None:
        self._reset_dictionaries()
        self._reset_rows()

    def _reset_rows(self) -> None:
        self.rows = 0
        """The number of answers and truths in the batch: a measure of the record's size."""
        self.predictions: list[PredictionRow] = []
        """The rows so far, to which a caller may append further rows with the same answers."""
        self.feedbacks: list[FeedbackRow] = []
        self._encoded: EncodedRows | None = None

    def _reset_dictionaries(self) -> None:
        self.dictionary_bytes = 0
        """An upper bound of the bytes of all text in the dictionaries, which can differ in each row."""
        self._models: dict[ModelKey, int] = {}
        self._answers: dict[Answer, int] = {}
        self._truths: dict[Reading, int] = {}

    def add(self, observation: Prediction | Feedback) -> None:
        """Add one observation."""
        models = len(self._models)
        if isinstance(observation, Prediction):
            model, request_id, time, source_rank, digest, answers, provisional, values = observation
            known_answers = self._answers
            known = len(known_answers)
            self.predictions.append(
                PredictionRow(
                    request_id,
                    self._models.setdefault(model, len(self._models)),
                    time,
                    source_rank,
                    digest,
                    known_answers.setdefault(answers[0], len(known_answers))
                    if len(answers) == 1
                    else [
                        known_answers.setdefault(answer, len(known_answers)) for answer in answers
                    ],
                    provisional,
                    _packed_values(values),
                )
            )
            self.rows += len(answers)
            if len(known_answers) > known:
                self.dictionary_bytes += sum(map(answer_bytes, answers))
        else:
            scope, request_id, time, source_rank, digest, truth, reward, values = observation
            truths = self._truths
            known = len(truths)
            position: int | list[int] | None = None
            if truth is not None:
                positions = [truths.setdefault(row, len(truths)) for row in truth]
                position = positions[0] if len(positions) == 1 else positions
            self.feedbacks.append(
                FeedbackRow(
                    request_id,
                    self._models.setdefault(scope, len(self._models)),
                    time,
                    source_rank,
                    digest,
                    position,
                    reward,
                    _packed_values(values),
                )
            )
            self.rows += 1 if truth is None else len(truth)
            if truth is not None and len(truths) > known:
                self.dictionary_bytes += truth_bytes(truth)
        if len(self._models) > models:
            self.dictionary_bytes += model_bytes(next(reversed(self._models)))

    def add_rows(self, rows: EncodedRows) -> None:
        """Add encoded rows; at most once per batch."""
        assert self._encoded is None
        self._encoded = rows
        self.rows += rows.predictions + rows.feedbacks

    def build(
        self, log_id: str, mode: IngestMode = IngestMode.NORMAL, keep_dictionaries: bool = False
    ) -> ObservationBatch:
        """The batch of all rows that were added, with encoded rows first. The builder is empty
        afterwards; with ``keep_dictionaries`` the next batch starts with the same dictionaries."""
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
        schemas, rows = answer_rows(answers)
        batch = ObservationBatch(
            SCHEMA_VERSION,
            log_id,
            models,
            schemas,
            rows,
            truths,
            _encoded_list(encoded.predictions, encoded.prediction_rows, self.predictions),
            _encoded_list(encoded.feedbacks, encoded.feedback_rows, self.feedbacks),
            mode,
        )
        self._reset_rows()
        if not keep_dictionaries:
            self._reset_dictionaries()
        return batch


def _packed_values(values: tuple[bytes, ...]) -> Values:
    if not values:
        return None
    return values[0] if len(values) == 1 else list(values)


def answer_rows(answers: Iterable[Answer]) -> tuple[list[Schema], list[AnswerRow]]:
    """The dictionary of schemas, and that of answers, which refers to it."""
    schemas: dict[Schema, int] = {}
    rows = [
        AnswerRow(label, reason, mode, schemas.setdefault(schema, len(schemas)), width, labels)
        for label, reason, mode, schema, width, labels in answers
    ]
    return list(schemas), rows


def _append(first: list[T], own: Mapping[T, int]) -> tuple[list[T], list[int]]:
    """A dictionary of the entries in ``first`` and then in ``own``, and the position of each entry of
    ``own`` in it."""
    if not first:
        return list(own), list(own.values())
    dictionary = list(first)
    positions: list[int] = []
    if own:
        known = {entry: position for position, entry in enumerate(dictionary)}
        for entry in own:
            position = known.get(entry, len(dictionary))
            if position == len(dictionary):
                dictionary.append(entry)
            positions.append(position)
    return dictionary, positions


def _moved(old: int | list[int], positions: list[int]) -> int | list[int]:
    """The new positions of entries that were at ``old`` positions."""
    return positions[old] if isinstance(old, int) else [positions[one] for one in old]


def _encoded_list(
    count: int, encoded: bytes, others: Sequence[PredictionRow | FeedbackRow]
) -> msgspec.Raw:
    """An encoded list of ``count`` encoded rows, followed by the others."""
    if not count:
        return msgspec.Raw(_encode(others))
    head = b"\xdd" + (count + len(others)).to_bytes(4, "big")
    return msgspec.Raw(b"".join([head, encoded, *map(_encode, others)]))


def model_bytes(model: ModelKey) -> int:
    """An upper bound of the bytes of a model in a dictionary."""
    return sum(map(_max_bytes, model))


def truth_bytes(truth: Sequence[Reading]) -> int:
    """An upper bound of the bytes of truth rows in a dictionary."""
    return sum(_max_bytes(str(row.value)) for row in truth if row.value is not None)


def answer_bytes(answer: Answer) -> int:
    """An upper bound of the bytes of an answer in a dictionary."""
    names = answer.schema.names or ()
    labels = answer.labels
    return (
        _max_bytes(answer.label or "") + sum(map(_max_bytes, names)) + sum(map(_max_bytes, labels))
    )


def _max_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
