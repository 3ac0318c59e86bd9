"""The published estimates of models with late labels: structs that encode to the documented JSON."""

from typing import cast

import msgspec

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import UNKNOWN
from processor.domain.statistics.labels import ClassScores, class_scores, macro
from processor.domain.tally.estimates import Estimates


class NowcastClass(msgspec.Struct, frozen=True):
    """The expected scores of one class; ``support`` is its expected items by actual label."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    support: float


class NowcastMean(msgspec.Struct, frozen=True):
    """The unweighted mean of the expected scores over the classes."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None


class HindcastResult(msgspec.Struct, frozen=True):
    """The errors that the nowcast would have had at an age: of ``cohorts`` mature days, the mean of
    nowcast minus final accuracy, and the share of intervals that held it (``coverage``). Of numbers it
    is the mean absolute error in place of accuracy, and errors are parts of the final one."""

    age: str
    mean_error: float | None
    coverage: float | None
    cohorts: int


class NowcastResult(msgspec.Struct, frozen=True):
    """The scores of a window as they will be once its labels are in (counting rule 30). They are None or
    empty if ``withheld`` gives a reason; ``expected_judged`` items would be judged by now at the
    usual pace of labels (rule 31), and ``fit`` is 1 at that pace. ``mae`` is the mean absolute error of
    numbers; their accuracy is the share within the tolerance."""

    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    fit: float | None
    expected_judged: float | None
    macro: NowcastMean
    classes: dict[str, NowcastClass]
    hindcast: tuple[HindcastResult, ...]
    withheld: str | None
    mae: float | None = None
    mae_low: float | None = None
    mae_high: float | None = None


class DriftResult(msgspec.Struct, frozen=True):
    """The Jensen-Shannon distance of the predicted labels from those of the same length of time before,
    and the distance that 95 % of equal distributions stay below (counting rule 32); the last two are
    against the same window a week ago."""

    jensen_shannon: float
    by_chance: float
    week_jensen_shannon: float | None = None
    week_by_chance: float | None = None


def nowcast_result(estimates: Estimates) -> NowcastResult:
    """Return the nowcast of a window with its hindcast."""
    found = estimates.nowcast
    classes = expected_classes(found.cells)
    mean = macro(classes)
    return NowcastResult(
        found.accuracy,
        found.accuracy_low,
        found.accuracy_high,
        found.fit,
        found.expected_judged,
        NowcastMean(*mean),
        {label: NowcastClass(*one.ratios, one.support) for label, one in classes.items()},
        tuple([HindcastResult(*one) for one in estimates.hindcast]),
        found.withheld,
        found.mae,
        found.mae_low,
        found.mae_high,
    )


def expected_classes(cells: dict[Cell, float]) -> dict[str, ClassScores]:
    """Return the scores of each class by expected items; those with an unknown actual label are in no
    class (counting rule 8)."""
    known = {cell: items for cell, items in cells.items() if cell.actual != UNKNOWN}
    # Expected items are no whole numbers; the formulas are the same.
    return class_scores(cast(dict[Cell, int], known))


def drift_result(estimates: Estimates) -> DriftResult | None:
    """Return the drift of a window's predictions; None if there is nothing to compare with."""
    if estimates.drift is None:
        return None
    return DriftResult(*estimates.drift, *(estimates.drift_of_week or (None, None)))
