"""Days of predictions whose labels are late (counting rule 30): what is judged of each outcome, how many
labels will come, and how many more or fewer than from older predictions come of late."""

from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays, Distribution
from processor.domain.statistics.delays import Cohort, predicted_in, total
from processor.domain.statistics.error_delays import usual_of

_HOUR, _DAY = 3600, 86_400

#: The number of labels of a day is not taken to be known better than this, relatively.
MIN_DUE_DEVIATION = 0.01
#: Days with a smaller share of their labels, or fewer, say too little of how many come; and so do fewer
#: days.
_MIN_LEVEL_SHARE, _MIN_LEVEL_ITEMS, _MIN_LEVEL_DAYS = 0.25, 30, 3

#: Cohorts by the age of their predictions in seconds.
Ages = Mapping[float, Cohort]


def mean_share(distribution: Distribution, items_by_age: Iterable[tuple[float, float]]) -> float:
    """Return the share of the labels of items of some ages (s) that is in by now; 0 without items."""
    whole = found = 0.0
    for age, items in items_by_age:
        if items:
            whole += items
            found += items * distribution.share(age)
    return found / whole if found else 0.0


class Estimate:
    """The final items of one cell: ``judged`` ones are in, ``final`` ones are expected. Of numbers,
    ``size`` is the sum of the absolute errors of the judged ones."""

    __slots__ = ("_of_items", "_of_sample", "final", "judged", "share_of", "size")

    def __init__(self, share_of: Distribution) -> None:
        self.judged = self.size = self.final = 0.0
        self.share_of = share_of
        #: The variance of the items that are in, and the error of their shares times the root of the
        #: mature items, both in final items.
        self._of_items = self._of_sample = 0.0

    def add(self, judged: float, share: float, rate: float) -> None:
        """Add the judged items of a day, whose ``share`` is in; ``rate`` is that of all predictions that
        are judged in the end."""
        final = judged / share
        self.judged += judged
        self.final += final
        # Of which hours of the day the outcomes are is chance too: so it is the day's mean share here.
        self._of_items += max(0.0, 1 - rate * share) * judged / share**2
        self._of_sample += final * sqrt(max(0.0, 1 - share) / share)

    @property
    def of_items(self) -> float:
        """The squared relative error of ``final`` by the items that are in."""
        return self._of_items / self.final**2

    @property
    def of_sample(self) -> float:
        """The relative error of ``final`` by the mature sample that gives the share: that of all days is
        in the same direction."""
        return self._of_sample / self.final / sqrt(self.share_of.items)

    @property
    def variance(self) -> float:
        """The squared relative error of ``final``."""
        return self.of_items + self.of_sample**2


#: The estimates of some cells.
Estimates = dict[Cell, Estimate]


class Level(NamedTuple):
    """How many labels of a day come, beside those of mature predictions, and the variance of the
    logarithm of that between days."""

    ratio: float = 1.0
    variance: float = 0.03**2


#: The level of a day beside which no other days are known: as many as of mature predictions, by 3 %.
USUAL_LEVEL = Level()


class Due(NamedTuple):
    """How many labels of a day and predicted label will come: ``items``, a ``rate`` of its predictions,
    and the ``variance`` of the logarithm of their number."""

    items: float
    rate: float
    variance: float

    def times(self, part: float) -> "Due":
        """Return a part of the labels."""
        return self._replace(items=self.items * part, rate=self.rate * part)

    def in_by_now(self, mean: float) -> float:
        """Return the share of the predictions that ``mean`` labels are."""
        return mean * self.rate / self.items


class Day(NamedTuple):
    """A day of predictions: its ``predicted`` items by label, how many of them will be judged (``due``),
    and the estimates of its cells."""

    predicted: Mapping[str, int]
    due: Mapping[str, Due]
    estimates: Estimates

    def only(self, wanted: Callable[[Cell], bool]) -> "Day":
        """Return the day with some of its cells; the labels that are due are those of their part."""
        kept = {cell: each for cell, each in self.estimates.items() if wanted(cell)}
        due = {}
        for label, whole in self.due.items():
            finals = {c: each.final for c, each in self.estimates.items() if c.predicted == label}
            part = sum(final for c, final in finals.items() if c in kept)
            due[label] = whole.times(part / sum(finals.values()) if part else 0.0)
        return self._replace(due=due, estimates=kept)


def with_older(estimates: Estimates, day: Ages, delays: Delays, level: Level) -> Day:
    """Return a day with its estimates, and with one judged item more of each predicted label, or a part
    of one where only a part of the labels is missing. It has the outcomes of mature predictions: what is
    not in yet may still come. As many labels more are due as it stands for."""
    predicted = predicted_in(day.values())
    judged: dict[str, float] = {}
    for cell, each in estimates.items():
        judged[cell.predicted] = judged.get(cell.predicted, 0.0) + each.judged
    due = {}
    for label in sorted({*predicted, *judged}):
        rate = min(1.0, delays.rate(label) * level.ratio)
        items = max(0, predicted.get(label, 0)) * rate
        missing = 1 - judged.get(label, 0.0) / items if items else 0.0
        if missing > 0:
            items += _add_older(estimates, label, missing, day, delays)
        due[label] = Due(items, rate, level.variance)
    return Day(predicted, due, estimates)


def _add_older(estimates: Estimates, label: str, judged: float, day: Ages, delays: Delays) -> float:
    """Add judged items of a predicted label with the outcomes of mature predictions that would be in by
    now. Returns how many labels they stand for."""
    outcomes = delays.outcomes(label)
    weights = [(age, cohort.predicted.get(label, 0)) for age, cohort in day.items()]
    shares = {cell: mean_share(delays.of_cell(cell), weights) for cell in outcomes}
    known = {cell: items * shares[cell] for cell, items in outcomes.items() if shares[cell]}
    whole, found = sum(known.values()), 0.0
    for cell, items in known.items():
        estimate = estimates.get(cell)
        if estimate is None:
            estimate = estimates[cell] = Estimate(delays.of_cell(cell))
        part = judged * items / whole
        estimate.add(part, shares[cell], delays.rate(label))
        found += part / shares[cell]
        if delays.of_numbers:
            estimate.size += part * usual_of(int(cell.actual))
    return found


def add_day(estimates: Estimates, day: Ages, delays: Delays) -> bool:
    """Add the cohorts of a day, by age in seconds. Returns whether items are judged of which none should
    be."""
    missing = False
    whole = total(day.values())
    for cell, counts in sorted(whole.judged.items()):
        judged = sum(counts)
        if judged <= 0:
            continue
        distribution = delays.of_cell(cell)
        # What never came so soon before is rare: its labels are taken to come like the others.
        share = _share_of_day(distribution, day, cell.predicted)
        if not share:
            share = _share_of_day(delays.of_label(cell.predicted), day, cell.predicted)
        estimate = estimates.get(cell)
        if estimate is None:
            estimate = estimates[cell] = Estimate(distribution)
        estimate.size += whole.sizes.get(cell, 0)
        if share > 0:
            estimate.add(judged, share, delays.rate(cell.predicted))
        else:
            missing = True
    return missing


def _share_of_day(distribution: Distribution, day: Ages, label: str) -> float:
    weights = [(age, cohort.predicted.get(label, 0)) for age, cohort in day.items()]
    if sum(items for _, items in weights) <= 0:
        # Feedback was counted whose predictions were not: the archive's predictions are not provided.
        weights = [(age, 1) for age in day]
    return mean_share(distribution, weights)


def expected(day: Ages, delays: Delays) -> float:
    """Return how many items of a day would be judged by now (counting rule 31)."""
    return sum(
        items * delays.rate(label) * delays.of_label(label).share(age)
        for age, cohort in day.items()
        for label, items in sorted(cohort.predicted.items())
        if items
    )


class Found(NamedTuple):
    """The predictions of a day, and how many there would be by the labels that are in, whatever the
    outcomes, and by the judged share of mature predictions; with the standard error of that."""

    items: int
    by_labels: float
    error: float


def found_in(day: Ages, delays: Delays) -> Found | None:
    """Return what is found in a day; None if items are judged of which none should be, or nothing was
    predicted."""
    estimates: Estimates = {}
    if add_day(estimates, day, delays):
        return None
    due, found, squares = 0, 0.0, 0.0
    for label, items in sorted(predicted_in(day.values()).items()):
        rate = delays.rate(label)
        if not rate:
            continue
        own = [each for cell, each in estimates.items() if cell.predicted == label]
        final = sum(each.final for each in own)
        due += items
        found += final / rate
        squares += sum((each.final / rate) ** 2 * each.variance for each in own)
        if mature := delays.predicted(label):
            squares += (final / rate) ** 2 * (1 - rate) / (rate * mature)
    return Found(due, found, sqrt(squares)) if due else None


def recent_level(hours: Mapping[int, Cohort], delays: Delays, now: float) -> Level:
    """Return the level of the labels of predictions that are not mature, by hour since 1970, at ``now``
    (s): that of the days that are over and have a good part of their labels in."""
    days = [day for age, day in by_age(hours, now).items() if age and _is_telling(day, delays)]
    found = [each for each in (found_in(day, delays) for day in days) if each is not None]
    due = sum(each.items for each in found)
    level = sum(each.by_labels for each in found) / max(1, due)
    # Where labels have stopped there is nothing to compare days by.
    if len(found) < _MIN_LEVEL_DAYS or not level:
        return USUAL_LEVEL
    squares = (
        sum(each.items * (each.by_labels / each.items / level - 1) ** 2 for each in found) / due
    )
    # That of the items between as many days, and that of their mean.
    variance = squares * (len(found) + 1) / (len(found) - 1)
    return Level(level, max(variance, MIN_DUE_DEVIATION**2))


def _is_telling(day: Ages, delays: Delays) -> bool:
    items = predicted_in(day.values())
    whole = sum(n * delays.rate(label) for label, n in items.items())
    return expected(day, delays) > max(_MIN_LEVEL_SHARE * whole, _MIN_LEVEL_ITEMS)


def by_age(hours: Mapping[int, Cohort], now: float) -> dict[int, dict[float, Cohort]]:
    """Return cohorts by hour since 1970 as days of age at ``now`` (s since 1970); an hour's age runs
    from its middle."""
    days: dict[int, dict[float, Cohort]] = {}
    # In one order, so that a sum of floats is the same in a live run and in a replay.
    for hour, cohort in sorted(hours.items()):
        age = max(0.0, now - (hour + 0.5) * _HOUR)
        days.setdefault(int(age // _DAY), {})[age] = cohort
    return days
