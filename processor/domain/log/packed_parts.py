"""The parts that like observations share, from which the native extension makes rows."""

from typing import NamedTuple

import msgspec

from processor.domain.log.observations import (
    Feedback,
    Prediction,
    answer_bytes,
    model_bytes,
    truth_bytes,
)
from processor.domain.model_key import ModelKey
from processor.domain.values import TEXT, Answer, Reading, content_digest, content_of

_encode = msgspec.msgpack.Encoder().encode


class PackedRow(NamedTuple):
    """The parts that rows of one kind share: the entry of an answer or a truth in its dictionary, and
    its bytes there; the digest of an answer without its values; an answer with a text as its label, or a
    truth, as it is encoded for the digest. The ``values`` may differ, and so may ``label``, the text
    that is the label: ``entry`` has an empty text in its place."""

    entry: Answer | Reading
    size: int
    digest: int
    encoded: bytes
    values: bytes
    label: str | None


class PackedParts(NamedTuple):
    """The parts that like observations share: whether they are feedback; the model and its bytes in a
    dictionary; the encoded rank of the source; the encoded fields of a prediction between answers and
    values; the items. ``reward`` and ``digest`` may differ: they are here to be compared."""

    feedback: bool
    model: tuple[ModelKey, int]
    source: bytes
    end: bytes
    rows: list[PackedRow]
    reward: int | None
    digest: int


def packed_parts(observation: Prediction | Feedback) -> PackedParts:
    """The parts that all observations like this one share: the values of their items may differ, and so
    may the reward of a feedback."""
    if isinstance(observation, Prediction):
        model, _, _, source_rank, digest, answers, provisional, values = observation
        packed = values or (b"",) * len(answers)
        rows = [_packed_answer(answer, one) for answer, one in zip(answers, packed, strict=True)]
        end, reward = _encode(provisional), None
    else:
        model, _, _, source_rank, digest, truth, reward, values = observation
        truths = truth or ()
        packed = values or (b"",) * len(truths)
        rows = [_packed_truth(row, one) for row, one in zip(truths, packed, strict=True)]
        end = b""
    feedback, size = isinstance(observation, Feedback), model_bytes(model)
    return PackedParts(feedback, (model, size), _encode(source_rank), end, rows, reward, digest)


def _packed_answer(answer: Answer, values: bytes) -> PackedRow:
    size, digest = answer_bytes(answer), content_digest(answer)
    if answer.mode != TEXT or answer.label is None:
        return PackedRow(answer, size, digest, b"", values, None)
    label = answer.label
    return PackedRow(
        answer._replace(label=""), size, digest, _encode(content_of(answer)), values, label
    )


def _packed_truth(truth: Reading, values: bytes) -> PackedRow:
    size, encoded = truth_bytes((truth,)), _encode(truth)
    if truth.kind != TEXT:
        return PackedRow(truth, size, 0, encoded, values, None)
    return PackedRow(truth._replace(value=""), size, 0, encoded, values, str(truth.value))
