"""How long feedback takes, by the size of the error: the delays of models of numbers (counting rule 30).

Errors are put into classes: by the number of binary digits of |e| in units, and by whether they are
within the tolerance. A class is the outcome of a number as a cell of the confusion matrix is that of a
label, so that the nowcast is the same. The sum of |e| by class gives its mean.
"""

from functools import lru_cache
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import Cohort
from processor.domain.statistics.sums import Sum, Sums, add
from processor.domain.values import DEFAULT_UNIT

#: Whether an error is within the tolerance.
NO_TOLERANCE, BEYOND, WITHIN = range(3)
_VERDICTS = 3
#: Bins of the delays of one class; there are fewer delays.
CLASS_BINS = 32


class MeasuredItem(NamedTuple):
    """A judged number: the label of its unit, the class of its error, and |e| in units."""

    unit: str
    error_class: int
    size: int


def unit_label(unit: int) -> str:
    """Return the label under which the sums of a unit stand: empty for the default one."""
    return "" if unit == DEFAULT_UNIT else str(unit)


def class_of(size: int, within: bool | None) -> int:
    """Return the class of an absolute error; ``within`` is None without a tolerance.

    >>> class_of(0, None), class_of(1, None), class_of(2, True), class_of(3, True), class_of(4, False)
    (0, 3, 8, 8, 10)
    """
    verdict = NO_TOLERANCE if within is None else WITHIN if within else BEYOND
    return _VERDICTS * size.bit_length() + verdict


def verdict_of(error_class: int) -> int:
    """Return whether the errors of a class are within the tolerance."""
    return error_class % _VERDICTS


def digits_of(error_class: int) -> int:
    """Return the number of binary digits of the errors of a class."""
    return error_class // _VERDICTS


def largest_of(error_class: int) -> int:
    """Return the largest absolute error of a class, in units.

    >>> largest_of(class_of(0, None)), largest_of(class_of(5, None))
    (0, 7)
    """
    bits: int = 1 << digits_of(error_class)
    return bits - 1


def usual_of(error_class: int) -> float:
    """Return the middle of the absolute errors of a class, in units."""
    return 0.75 * (largest_of(error_class) + 1) if error_class >= _VERDICTS else 0.0


def contribute_predicted(unit: str, sums: Sums, items: int = 1) -> None:
    """Add what predicted numbers contribute to the sums of their hour."""
    add(sums, Sum.PREDICTED_NUMBER, items, unit)


def contribute(item: MeasuredItem, bucket: int, sums: Sums, items: int = 1) -> None:
    """Add what judged numbers contribute to the sums of the hour of their prediction."""
    add(sums, Sum.NUMBER_DELAY, items, item.unit, item.error_class * CLASS_BINS + bucket)
    add(sums, Sum.NUMBER_SIZE, items * item.size, item.unit, item.error_class)


def add_measured(cohort: Cohort, item: MeasuredItem, bucket: int, items: int = 1) -> None:
    """Count judged numbers in a cohort."""
    cohort.add_judged(cell_of(item.unit, item.error_class), bucket, items)
    cohort.add_size(cell_of(item.unit, item.error_class), items * item.size)


@lru_cache(1024)
def cell_of(unit: str, error_class: int) -> Cell:
    """Return the cell of a cohort for a class of errors: the unit stands for the predicted label."""
    return Cell(str(error_class), unit)


def number_cohort_of(sums: Sums) -> Cohort:
    """Return the cohort whose numbers contributed to some sums."""
    cohort = Cohort()
    for (kind, unit, place), items in sums.items():
        if kind == Sum.PREDICTED_NUMBER:
            cohort.add_predicted(unit, items)
        elif kind == Sum.NUMBER_DELAY:
            error_class, bucket = divmod(place, CLASS_BINS)
            cohort.add_judged(cell_of(unit, error_class), bucket, items)
        elif kind == Sum.NUMBER_SIZE:
            cohort.add_size(cell_of(unit, place), items)
    return cohort
