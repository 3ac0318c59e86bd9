"""The parts of a model's result that its task has, for the report and the live page."""

from math import floor, log2
from typing import NamedTuple

import msgspec

from processor.domain.results import ModelResult, ThresholdResult

#: The thresholds of the table; each stands for the next one at which an item is.
_TARGETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
#: The widths of a bar of errors, in octaves, and the most bars.
_OCTAVES = (0.25, 0.5, 1, 2, 4, 8)
_MAX_BARS = 28
#: The smallest errors that are one bar together are this part of all items.
_TAIL = 0.01


class Parts(NamedTuple):
    """Which kinds of scores a result has. A model with nothing judged has labels, whose scores are then
    undefined."""

    labels: bool
    probabilities: bool
    numbers: bool
    sets: bool


class ErrorBar(msgspec.Struct, frozen=True):
    """The items with an absolute error up to ``up_to`` and above that of the bar before."""

    up_to: float
    items: int


class ShownThreshold(msgspec.Struct, frozen=True):
    """A row of the table of thresholds. It is the row of the ``current`` threshold, of the ``best`` F1,
    of both, or of neither."""

    scores: ThresholdResult
    current: bool
    best: bool


def parts_of(model: ModelResult) -> Parts:
    """The kinds of scores that a result has."""
    numbers, sets = model.measured > 0, model.exact_match is not None
    return Parts(
        bool(model.confusion) or not (numbers or sets),
        model.calibration_error is not None,
        numbers,
        sets,
    )


def decided_items(model: ModelResult) -> int:
    """The judged items that are right or wrong: all but numbers without a tolerance."""
    if model.accuracy is None:
        return 0
    if model.accuracy:
        return round(model.correct / model.accuracy)
    return model.judged if model.within_tolerance is not None else model.judged - model.measured


def at_threshold(model: ModelResult, threshold: float) -> ThresholdResult | None:
    """The scores at a threshold: those of the next one at which an item is; None beyond the last."""
    # The edge of the bin of 0.5 is 0.5000076.
    return next((each for each in model.thresholds if each.threshold >= threshold - 1e-9), None)


def current_threshold(model: ModelResult) -> ThresholdResult | None:
    """The scores at the threshold that decides today; None where no item reaches it."""
    return None if model.threshold is None else at_threshold(model, model.threshold)


def shown_thresholds(model: ModelResult) -> tuple[ShownThreshold, ...]:
    """About ten thresholds, the current one and the one with the best F1 among them."""
    current = current_threshold(model)
    found = {each.threshold: each for target in _TARGETS if (each := at_threshold(model, target))}
    found |= {current.threshold: current} if current else {}
    found |= {each.threshold: each for each in model.thresholds if _is_best(model, each)}
    return tuple(
        ShownThreshold(each, each is current, _is_best(model, each))
        for _, each in sorted(found.items())
    )


def _is_best(model: ModelResult, one: ThresholdResult) -> bool:
    return one.threshold == model.best_threshold


def error_bars(model: ModelResult) -> tuple[ErrorBar, ...]:
    """The histogram of absolute errors with few enough bars for a picture: each of equal width on a
    logarithmic scale, but for the first, which is for all smaller errors.

    The first bar of a model with errors of exactly 0 is for these.
    """
    histogram = model.error_histogram
    above = [each for each in histogram if each.up_to > 0]
    exact = sum(each.items for each in histogram if each.up_to <= 0)
    bars = [ErrorBar(0.0, exact)] if exact else []
    if not above:
        return tuple(bars)
    least, rest = 0, _TAIL * sum(each.items for each in above)
    while least < len(above) - 1 and (rest := rest - above[least].items) > 0:
        least += 1
    octaves = [log2(each.up_to) for each in above]
    span = octaves[-1] - octaves[least]
    width = next((each for each in _OCTAVES if span / each < _MAX_BARS), _OCTAVES[-1])
    groups: dict[int, list[float]] = {}
    for i, each in enumerate(above):
        group = groups.setdefault(floor(octaves[max(i, least)] / width), [0.0, 0])
        group[0], group[1] = max(group[0], each.up_to), group[1] + each.items
    for number in range(min(groups), max(groups) + 1):
        up_to, items = groups.get(number, (2.0 ** ((number + 1) * width), 0))
        bars.append(ErrorBar(up_to, int(items)))
    return tuple(bars)
