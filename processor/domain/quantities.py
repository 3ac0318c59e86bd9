"""Real numbers as integers (counting rules 24 and 27): sums of integers do not depend on the order.

A probability p becomes q = 65535 p, a number x becomes m = x / 10^unit; both are of the exact value of
the double, rounded half to even.
"""

import math
from collections.abc import Iterator, Sequence
from struct import Struct, unpack

#: The q of a probability of 1.
ONE = 65535
#: Of more classes than this only the largest probabilities are kept.
MAX_WIDTH, KEPT = 16, 10
#: The largest number, in units.
MAX_NUMBER = 10**18
#: How far the sum of probabilities may be from 1, with room for the rounding of the sum.
_TOLERANCE = 0.01 + 1e-9

_INTEGER, _DOUBLE = Struct("<q"), Struct("<d")
_PAIR = Struct("<IH")


def quantize(probability: float) -> int:
    """Return q of a probability from 0 to 1.

    >>> quantize(1), quantize(0.25), quantize(0.5 / 65535)
    (65535, 16384, 0)
    """
    return _half_even(*_scaled(probability, ONE))


def _scaled(number: float, factor: int) -> tuple[int, int]:
    numerator, denominator = number.as_integer_ratio()
    return numerator * factor, denominator


def _half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator, rounded half to even; the denominator is above 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient & 1))


def are_probabilities(scores: Sequence[float]) -> bool:
    """Return whether finite scores are probabilities: all from 0 to 1, with a sum within 0.01 of 1."""
    total = 0.0
    for score in scores:
        if not 0 <= score <= 1:
            return False
        total += score
    return abs(total - 1) <= _TOLERANCE


def pack_probabilities(scores: Sequence[float]) -> bytes:
    """Return the packed q of scores; empty if these are no probabilities, or each q is 0 or 65535.

    Up to 16 scores: two bytes each. Above, the ten largest (of equals the first), each with its
    position in four bytes before it.

    >>> pack_probabilities([0.25, 0.75]).hex(), pack_probabilities([0, 1]), pack_probabilities([2, 3])
    ('0040ffbf', b'', b'')
    """
    if not are_probabilities(scores):
        return b""
    packed = [quantize(score) for score in scores]
    if all(q in (0, ONE) for q in packed):
        return b""
    if len(packed) <= MAX_WIDTH:
        return b"".join([q.to_bytes(2, "little") for q in packed])
    # By the exact scores, as their label is; two that differ can have the same q.
    largest = sorted(range(len(packed)), key=lambda i: (-scores[i], i))[:KEPT]
    return b"".join([_PAIR.pack(position, packed[position]) for position in largest])


def pack_pair(probability: float) -> bytes:
    """Return the packed q of both classes by the probability of the second, from 0 to 1.

    >>> pack_pair(0.75).hex(), pack_pair(1.0)
    ('0040ffbf', b'')
    """
    second = quantize(probability)
    first = _half_even(*_complement(probability))
    if {first, second} <= {0, ONE}:
        return b""
    return first.to_bytes(2, "little") + second.to_bytes(2, "little")


def _complement(probability: float) -> tuple[int, int]:
    numerator, denominator = probability.as_integer_ratio()
    return (denominator - numerator) * ONE, denominator


def pack_confidence(probability: float) -> bytes:
    """Return the packed q of the predicted label alone, by its probability from 0 to 1; empty if q is 0
    or 65535."""
    q = quantize(probability)
    return b"" if q in (0, ONE) else q.to_bytes(2, "little")


def unpack_probabilities(packed: bytes, width: int) -> Iterator[tuple[int, int]]:
    """Return the positions and q of packed probabilities of ``width`` classes."""
    if width > MAX_WIDTH:
        return _PAIR.iter_unpack(packed)
    return enumerate(unpack(f"<{width}H", packed))


def to_units(number: float, unit: int) -> int | None:
    """Return a finite number in units of 10^unit; None beyond 10^18 units.

    >>> to_units(1.5, -6), to_units(0.125, -2), to_units(1e13, -6)
    (1500000, 12, None)
    """
    numerator, denominator = number.as_integer_ratio()
    if unit < 0:
        numerator *= 10**-unit
    else:
        denominator *= 10**unit
    amount = _half_even(numerator, denominator)
    return amount if abs(amount) <= MAX_NUMBER else None


def pack_number(amount: int) -> bytes:
    """Return a number in units as 8 bytes."""
    return _INTEGER.pack(amount)


def unpack_number(packed: bytes) -> int:
    """Return a number in units from its 8 bytes."""
    amount: int = _INTEGER.unpack(packed)[0]
    return amount


def pack_double(number: float) -> bytes | None:
    """Return a number as the 8 bytes of a double; None for an integer that no double is equal to."""
    if isinstance(number, int):
        try:
            if int(float(number)) != number:
                return None
        except OverflowError:
            return None
    return _DOUBLE.pack(number)


def unpack_double(packed: bytes) -> float:
    """Return a number from the 8 bytes of a double."""
    number: float = _DOUBLE.unpack(packed)[0]
    return number


def log_loss(q: int) -> int:
    """Return -ln(q / 65535) in millionths, rounded half to even; q of 0 counts as 0.5.

    >>> log_loss(65535), log_loss(0)
    (0, 11783487)
    """
    return round(-1e6 * math.log((q or 0.5) / ONE))
