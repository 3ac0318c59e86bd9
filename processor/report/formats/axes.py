"""Axes of numbers in their own measure: where they begin and end, and the texts of their marks."""

from decimal import Decimal
from math import ceil, floor, log10
from typing import NamedTuple

#: An axis whose numbers are this many times larger than its length counts from a base.
_FAR = 100
#: Numbers whose difference is a smaller part of them are taken as equal.
_SAME = 1e-9


class Axis(NamedTuple):
    """An axis from ``low`` to ``high`` with evenly spaced ``marks``. Their ``texts`` count from
    ``base``, which is 0 but for numbers that are large beside their differences."""

    low: float
    high: float
    marks: tuple[float, ...]
    texts: tuple[str, ...]
    base: float

    @property
    def remark(self) -> str:
        """The base as it is added to the axis's name; empty if it is 0.

        >>> axis(0, 1).remark, axis(1e6 + 1, 1e6 + 2).remark
        ('', ' \u2212 1,000,000')
        """
        if not self.base:
            return ""
        sign = "\u2212" if self.base > 0 else "+"
        return f" {sign} {Decimal(f'{abs(self.base):.12g}'):,f}"

    def part(self, value: float) -> float:
        """The place of a value on the axis, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def axis(low: float, high: float, most: int = 5) -> Axis:
    """An axis from ``low`` to ``high`` with about ``most`` marks at round numbers; around a single
    number where both are equal.

    >>> axis(0.3, 9.2).texts, axis(-20_000, 450_000).texts
    (('2', '4', '6', '8'), ('0', '100k', '200k', '300k', '400k'))
    >>> axis(2e-7, 9e-7).texts
    ('2e\u22127', '4e\u22127', '6e\u22127', '8e\u22127')
    """
    if high - low <= _SAME * max(abs(low), abs(high)):
        room = abs(low) / 2 or 1.0
        low, high = low - room, low + room
    step = _step((high - low) / most)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    is_far = max(abs(low), abs(high)) > _FAR * (high - low)
    base = first // 10 * 10 if is_far else 0
    numbers = range(first, last + 1)
    texts = _texts([(number - base) * step for number in numbers], step)
    return Axis(low, high, tuple([number * step for number in numbers]), texts, base * step)


def padded_axis(low: float, high: float) -> Axis:
    """An axis with some room at both ends.

    >>> padded_axis(100, 200)[:2]
    (95.0, 205.0)
    """
    room = (high - low) / 20
    return axis(low - room, high + room)


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... that is at least so large."""
    power = 10.0 ** floor(log10(least))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= least * (1 - 1e-9))


def _texts(values: list[float], step: float) -> tuple[str, ...]:
    """The values as texts of one form, with as many digits as tell them apart."""
    largest = max(map(abs, values), default=0.0)
    if step < 0.9e-4 or largest >= 1e12:
        power = floor(log10(largest or 1))
        digits = max(0, power - floor(log10(step) + 1e-9))
        return tuple(_scientific(each, power, digits) for each in values)
    size, unit = next(
        (
            (size, unit)
            for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k"))
            if largest >= 10 * size or (largest >= size and step >= size / 10)
        ),
        (1, ""),
    )
    digits = max(0, -floor(log10(step / size) + 1e-9))
    return tuple(
        f"{each / size:,.{digits}f}{unit}".replace("-", "\u2212") if each else "0"
        for each in values
    )


def _scientific(value: float, power: int, digits: int) -> str:
    if not value:
        return "0"
    return f"{value / 10.0**power:.{digits}f}e{power}".replace("-", "\u2212")
