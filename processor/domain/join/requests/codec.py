"""Pack the registers of a request into a few dozen bytes.

A packed request has the log hour of its first observation (4 bytes), the number of its predictions and
of its feedbacks, their times (8 bytes each), and then each register: its head, its model or scope, its
digest unless that follows from its content, its reward, and its items. The head contains the source rank
and the flags below. An item is a position in the table of answers or truths and, with the flag, the
length of its values and the values. All other numbers are LEB128: 7 bits in each byte, the lowest first.
"""

from collections.abc import Callable, Iterator, Sequence
from struct import Struct as Layout
from struct import pack, unpack_from
from typing import NamedTuple

from processor.domain.join.requests.request import (
    FeedbackRegister,
    PredictionRegister,
    Request,
    positions,
)
from processor.domain.log.observations import Values
from processor.domain.values import Answer, Reading, content_digest, digest, mix

#: The flags of any register: values stand beside the items, the digest does not follow from the content,
#: there is a list of items.
_VALUES, _DIGEST, _SEVERAL = 4, 8, 16
#: Those of a prediction, and those of a feedback.
_PROVISIONAL, _RESTORED = 1, 2
_TRUTH, _REWARD = 1, 2
_RANK_SHIFT = 5

_HOUR, _TIME, _DIGEST_BYTES = Layout("<I"), Layout("<q"), Layout("<Q")


def first_seen_hour(packed: bytes | bytearray, at: int = 0) -> int:
    """The log hour in which the packed request at a position was first seen."""
    hour: int = _HOUR.unpack_from(packed, at)[0]
    return hour


def counts(packed: bytes | bytearray, at: int = 0) -> tuple[int, int]:
    """The numbers of predictions and of feedbacks of the packed request at a position."""
    reader = _Reader(packed, at + _HOUR.size)
    return reader.number(), reader.number()


class RequestCodec:
    """Packs and unpacks requests whose registers refer to these tables, which may grow."""

    def __init__(self, answers: Sequence[Answer], truths: Sequence[Reading]) -> None:
        self._answers = answers
        self._truths = truths
        self._prediction_bases: dict[int, int] = {}
        self._feedback_bases: dict[tuple[int | None, int | None], int] = {}

    def pack(self, request: Request) -> bytes:
        """Pack a request. `ValueError` if the values of a register are not those of its items."""
        packed = bytearray(_HOUR.pack(request.first_seen_hour))
        _add(packed, len(request.predictions))
        _add(packed, len(request.feedbacks))
        times = [one.time for one in request.predictions]
        times += [one.time for one in request.feedbacks]
        packed += b"".join(map(_TIME.pack, times))
        for prediction in request.predictions:
            self._add_prediction(packed, prediction)
        for feedback in request.feedbacks:
            self._add_feedback(packed, feedback)
        return bytes(packed)

    def unpack(self, packed: bytes) -> Request:
        """Unpack a request. `ValueError` if it is malformed."""
        reader = _Reader(packed, _HOUR.size)
        try:
            predictions, feedbacks = reader.number(), reader.number()
            times = iter([reader.time() for _ in range(predictions + feedbacks)])
            return Request(
                first_seen_hour(packed),
                [self._prediction(reader, next(times)) for _ in range(predictions)],
                [self._feedback(reader, next(times)) for _ in range(feedbacks)],
            )
        except IndexError:
            raise ValueError("a packed request ends too early") from None

    def base_of_prediction(self, answer: int) -> int:
        """The digest of an answer without its values, by its position in the state's table."""
        base = self._prediction_bases.get(answer)
        if base is None:
            base = self._prediction_bases[answer] = content_digest(self._answers[answer])
        return base

    def base_of_feedback(self, truth: int | None, reward: int | None) -> int:
        """The digest of a truth, by its position in the state's table, and a reward, without values."""
        base = self._feedback_bases.get((truth, reward))
        if base is None:
            rows = None if truth is None else (self._truths[truth],)
            base = self._feedback_bases[truth, reward] = digest(rows, reward)
        return base

    def _add_prediction(self, packed: bytearray, register: PredictionRegister) -> None:
        flags = register.provisional * _PROVISIONAL | register.restored * _RESTORED
        answers = register.answers
        known = None
        if isinstance(answers, int):
            known = mix(self.base_of_prediction(answers), _one(register.values))
        self._add_register(packed, register, flags, register.model, known, None)
        _add_items(packed, answers, register.values)

    def _add_feedback(self, packed: bytearray, register: FeedbackRegister) -> None:
        truth, reward = register.truth, register.reward
        flags = (truth is not None) * _TRUTH | (reward is not None) * _REWARD
        known = None
        if truth is None or isinstance(truth, int):
            known = mix(self.base_of_feedback(truth, reward), _one(register.values))
        self._add_register(packed, register, flags, register.scope, known, reward)
        if truth is not None:
            _add_items(packed, truth, register.values)
        elif register.values:
            raise ValueError("a feedback that has values and no truth")

    def _add_register(
        self,
        packed: bytearray,
        register: PredictionRegister | FeedbackRegister,
        flags: int,
        model: int,
        known: int | None,
        reward: int | None,
    ) -> None:
        items = register.answers if isinstance(register, PredictionRegister) else register.truth
        flags |= isinstance(items, list) * _SEVERAL
        if register.values is not None and register.values != b"":
            flags |= _VALUES
        if known != register.digest:
            flags |= _DIGEST
        _add(packed, register.source_rank << _RANK_SHIFT | flags)
        _add(packed, model)
        if known != register.digest:
            packed += _DIGEST_BYTES.pack(register.digest)
        if reward is not None:
            _add(packed, reward * 2 if reward >= 0 else -reward * 2 - 1)

    def _prediction(self, reader: "_Reader", time: int) -> PredictionRegister:
        head, model = reader.number(), reader.number()
        content = reader.digest() if head & _DIGEST else None
        answers, values = reader.items(head)
        if content is None:
            assert isinstance(answers, int)
            content = mix(self.base_of_prediction(answers), _one(values))
        return PredictionRegister(
            model, time, head >> _RANK_SHIFT, content, answers,
            bool(head & _PROVISIONAL), bool(head & _RESTORED), values,
        )  # fmt: skip

    def _feedback(self, reader: "_Reader", time: int) -> FeedbackRegister:
        head, scope = reader.number(), reader.number()
        content = reader.digest() if head & _DIGEST else None
        reward, truth, values = None, None, None
        if head & _REWARD:
            number = reader.number()
            reward = -(number // 2) - 1 if number & 1 else number // 2
        if head & _TRUTH:
            truth, values = reader.items(head)
        if content is None:
            assert not isinstance(truth, list)
            content = mix(self.base_of_feedback(truth, reward), _one(values))
        return FeedbackRegister(scope, time, head >> _RANK_SHIFT, content, truth, reward, values)


def times_and_content(packed: bytes) -> tuple[int, int, bytes | None] | None:
    """The times of the prediction and of the feedback (0 without one) of a request that has one
    prediction and at most one feedback, and the bytes of all else but its first hour, which are equal
    for requests of equal content; None instead of these if they contain values. None for another
    request."""
    reader = _Reader(packed, _HOUR.size)
    predictions, feedbacks = reader.number(), reader.number()
    if predictions != 1 or feedbacks > 1:
        return None
    predicted_at = reader.time()
    feedback_at = reader.time() if feedbacks else 0
    return (
        predicted_at,
        feedback_at,
        packed[reader.at :] if not packed[reader.at] & _VALUES else None,
    )


class RequestParts(NamedTuple):
    """The parts of a packed request: the log hour of its first observation, the numbers of its
    predictions and feedbacks as they are packed, their times (ns), and the registers."""

    hour: int
    numbers: bytes
    times: tuple[int, ...]
    registers: bytes

    @classmethod
    def of(cls, packed: bytes) -> "RequestParts":
        """Divide a packed request."""
        reader = _Reader(packed, _HOUR.size)
        count = reader.number() + reader.number()
        end = reader.at + count * _TIME.size
        times = unpack_from(f"<{count}q", packed, reader.at)
        return cls(first_seen_hour(packed), packed[_HOUR.size : reader.at], times, packed[end:])

    def join(self) -> bytes:
        """Make the packed request of the parts."""
        times = pack(f"<{len(self.times)}q", *self.times)
        return b"".join((_HOUR.pack(self.hour), self.numbers, times, self.registers))

    @property
    def restored(self) -> bool:
        """Whether the predictions were counted earlier and came back from the archive."""
        return self.numbers[0] > 0 and bool(self.registers[0] & _RESTORED)


#: Gives a position in a table for another one.
_Mapping = Callable[[int], int]


def renumber(packed: bytes, model: _Mapping, answer: _Mapping, truth: _Mapping) -> bytes:
    """The packed request with other positions of its models and scopes, answers and truths."""
    reader = _Reader(packed, _HOUR.size)
    predictions, feedbacks = reader.number(), reader.number()
    for _ in range(predictions + feedbacks):
        reader.time()
    moved = bytearray(packed[: reader.at])
    for number in range(predictions + feedbacks):
        head = reader.number()
        _add(moved, head)
        _add(moved, model(reader.number()))
        if head & _DIGEST:
            moved += _DIGEST_BYTES.pack(reader.digest())
        position_of = answer if number < predictions else truth
        if number >= predictions:
            if head & _REWARD:
                _add(moved, reader.number())
            if not head & _TRUTH:
                continue
        items, values = reader.items(head)
        _add_items(
            moved, [position_of(each) for each in items] if isinstance(items, list) else
            position_of(items), values,
        )  # fmt: skip
    return bytes(moved)


def holes(shape: bytes, is_cut: bool) -> list[tuple[int, int]]:
    """The position and length of each digest and each item's values in the numbers and registers of a
    request; or, if they are cut out, where they go. `ValueError` if these are malformed."""
    found: list[tuple[int, int]] = []
    reader = _Reader(shape, 0)

    def hole(length: int) -> None:
        found.append((reader.at, length))
        reader.at += 0 if is_cut else length

    try:
        predictions, feedbacks = reader.number(), reader.number()
        for number in range(predictions + feedbacks):
            head = reader.number()
            reader.number()
            if head & _DIGEST:
                hole(_DIGEST_BYTES.size)
            if number >= predictions:
                if head & _REWARD:
                    reader.number()
                if not head & _TRUTH:
                    continue
            for _ in range(reader.number() if head & _SEVERAL else 1):
                reader.number()
                if head & _VALUES:
                    hole(reader.number())
    except IndexError:
        raise ValueError("a packed request ends too early") from None
    if reader.at != len(shape):
        raise ValueError("a packed request does not end with its registers")
    return found


def _one(values: Values) -> bytes:
    """The values of a single item."""
    if isinstance(values, list):
        raise ValueError("a list of values beside a single item")
    return values or b""


def _add(packed: bytearray, number: int) -> None:
    while number > 127:
        packed.append(number & 127 | 128)
        number >>= 7
    packed.append(number)


def _add_items(packed: bytearray, items: int | list[int], values: Values) -> None:
    """Add the items of a register, with their values if it has any."""
    single = isinstance(items, int)
    if isinstance(items, list):
        _add(packed, len(items))
    each: list[bytes] | None = None
    if values is not None and values != b"":
        each = values if isinstance(values, list) else [values]
        if isinstance(values, list) == single or len(each) != len(list(positions(items))):
            raise ValueError("the values of other items")
    for number, position in enumerate(positions(items)):
        _add(packed, position)
        if each is not None:
            _add(packed, len(each[number]))
            packed += each[number]


class _Reader:
    """Reads the parts of a packed request, one after another."""

    def __init__(self, packed: bytes | bytearray, at: int) -> None:
        self.at = at
        self._packed = packed

    def number(self) -> int:
        packed, at = self._packed, self.at
        byte = packed[at]
        number, shift = byte & 127, 7
        while byte > 127:
            at += 1
            byte = packed[at]
            number |= (byte & 127) << shift
            shift += 7
        self.at = at + 1
        return number

    def _take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self._packed):
            raise ValueError("a packed request ends too early")
        return bytes(self._packed[start : self.at])

    def time(self) -> int:
        time: int = _TIME.unpack(self._take(_TIME.size))[0]
        return time

    def digest(self) -> int:
        content: int = _DIGEST_BYTES.unpack(self._take(_DIGEST_BYTES.size))[0]
        return content

    def items(self, head: int) -> tuple[int | list[int], Values]:
        """The items of a register with this head, and their values."""
        if not head & _SEVERAL:
            ((item, values),) = self._items(head, 1)
            return item, values
        found = list(self._items(head, self.number()))
        values_of = [one or b"" for _, one in found] if head & _VALUES else None
        return [item for item, _ in found], values_of

    def _items(self, head: int, count: int) -> Iterator[tuple[int, bytes | None]]:
        for _ in range(count):
            item = self.number()
            yield item, self._take(self.number()) if head & _VALUES else None
