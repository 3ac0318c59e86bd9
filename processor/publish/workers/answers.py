"""The answers of workers to one another, and the list of workers that readers see."""

import json
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

B = TypeVar("B")

#: The largest partition number, and the most partitions, that an answer may name.
_MAX_PARTITIONS = 10_000


class _Head(msgspec.Struct, frozen=True):
    worker: str
    release: str
    positions: dict[int, int]
    models: int


class WorkerAnswer(_Head, frozen=True):
    """The envelope of every answer on ``/api/worker``.

    ``worker`` is the id of the worker that answers. ``positions`` has the next offset of each
    partition of the deltas whose counts are up to date there: of two answers, the one with the higher
    offset has the newer counts. ``models`` is the number of models of the worker.
    """

    body: msgspec.Raw


class ShownWorker(msgspec.Struct, frozen=True):
    """A worker of the app, as readers see it.

    ``partitions`` are those of the deltas that Kafka has assigned to it; ``models`` and
    ``age_seconds`` are of its last answer, None if it never answered. ``ok`` tells whether it answers
    now, and ``reason`` why it does not; ``member`` is false for a worker that has left the consumer
    group. ``answering`` marks the worker that made this list.
    """

    id: str
    address: str
    scheme: str
    partitions: tuple[int, ...]
    models: int | None
    age_seconds: float | None
    ok: bool
    reason: str = ""
    member: bool = True
    answering: bool = False


class ShownWorkers(msgspec.Struct, frozen=True):
    """The body of ``GET /api/workers``. Nobody's counts are up to date for ``missing_partitions``."""

    workers: tuple[ShownWorker, ...]
    missing_partitions: tuple[int, ...]


class InvalidAnswerError(ValueError):
    """An answer that does not have the form of this release."""


# Half a surrogate pair, which a broken HTTP header can bring into a label, is written as an escape, and
# msgspec does not read that.


class BodyDecoder(Generic[B]):
    """Decodes JSON to one type, strictly; texts with half a surrogate pair are read too. ``check``
    raises `msgspec.ValidationError` where the type does not say enough."""

    def __init__(self, kind: type[B], check: Callable[[B], object] = lambda _: None) -> None:
        self._kind = kind
        self._check = check
        self._decode = msgspec.json.Decoder(kind).decode

    def __call__(self, body: bytes) -> B:
        """Decode a body. `InvalidAnswerError` names the field that is wrong."""
        found = self._read(body)
        try:
            self._check(found)
        except msgspec.ValidationError as error:
            raise InvalidAnswerError(str(error)) from None
        return found

    def _read(self, body: bytes) -> B:
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise InvalidAnswerError(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        try:
            return msgspec.convert(json.loads(body), self._kind, str_keys=True)
        except (ValueError, RecursionError) as error:
            raise InvalidAnswerError(str(error)) from None


_decode_envelope = msgspec.json.Decoder(WorkerAnswer).decode


def decode_answer(data: bytes, worker: str, partitions: int) -> WorkerAnswer:
    """Decode the envelope of an answer of ``worker``. `InvalidAnswerError` says what is wrong with it:
    it is of another worker, or names partitions beyond ``partitions``."""
    try:
        answer = _decode_envelope(data)
    except msgspec.ValidationError as error:
        raise InvalidAnswerError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = _decode_leniently(data)
    if answer.worker != worker:
        raise InvalidAnswerError(
            "another worker answers at this address: check PROCESSOR_ADVERTISED_ADDRESS"
        )
    if answer.models < 0 or len(answer.positions) > _MAX_PARTITIONS:
        raise InvalidAnswerError("its numbers make no sense")
    if any(not 0 <= number < partitions for number in answer.positions):
        raise InvalidAnswerError(f"it names a partition beyond the {partitions} of this app")
    return answer


def _decode_leniently(data: bytes) -> WorkerAnswer:
    try:
        fields = json.loads(data)
        body = json.dumps(fields.pop("body", None)).encode()
        head = msgspec.convert(fields, _Head, str_keys=True)
        values = head.worker, head.release, head.positions, head.models
        return WorkerAnswer(*values, msgspec.Raw(body))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidAnswerError(str(error)) from None
