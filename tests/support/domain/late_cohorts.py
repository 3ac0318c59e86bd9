"""Cohorts as a tally gives them, of a simulated model whose labels come late."""

from collections.abc import Iterable, Mapping

from processor.domain.statistics.counts import Counts
from processor.domain.statistics.delays import (
    BUCKETS,
    Cohort,
    contribute,
    contribute_prediction,
    total,
)
from processor.domain.statistics.error_delays import CLASS_BINS, contribute_predicted
from processor.domain.statistics.sums import Sum, Sums, add
from processor.domain.tally.bucket_counts import BucketCounts, BucketFactory
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.estimates import Estimator, put_together
from processor.domain.tally.windows import parse_window
from processor.publish.estimates.live import ModelEstimates
from tests.support.domain.late_numbers import NumberEvents
from tests.support.late_worlds import DAY, Events, World

#: Counts as a tally has them, native ones where there are.
_FACTORY = BucketFactory()
#: The time (s) at which a simulated model is looked at.
END = 12.0 * DAY - 60


def late_hours(classes: int = 2, seed: int = 5, now: float = END) -> dict[int, Cohort]:
    """The cohorts by hour of a model with 1,200 predictions a day, at ``now``."""
    return Events(World(days=12, per_day=1200, classes=classes), seed).cohorts(now)


def tallied(hours: Mapping[int, Cohort], numbers: Mapping[int, Cohort] | None = None) -> Cohorts:
    """The cohorts of a tally with these hours of labels and of numbers."""
    numbers = numbers or {}
    by_hour = {
        hour: _counts(hours.get(hour, Cohort()), numbers.get(hour, Cohort()))
        for hour in sorted({*hours, *numbers})
    }
    return Cohorts(by_hour, _counts(total(hours.values()), total(numbers.values())))


def delays_of(cohorts: Iterable[Cohort]) -> list[int]:
    """The judged items by bucket of the delay."""
    found = [0] * BUCKETS
    for cohort in cohorts:
        for delays in cohort.judged.values():
            found = [one + other for one, other in zip(found, delays, strict=True)]
    return found


def late_estimates(*windows: str) -> ModelEstimates:
    """The estimates at `END` of a model that answers with labels and with numbers."""
    hours, numbers = late_hours(), NumberEvents(seed=7, days=12, per_day=1200).cohorts(END)
    kinds = [
        Estimator(each.items(), total(each.values()), END, 7 * DAY, each is numbers)
        for each in (hours, numbers)
    ]
    by_window = {
        name: put_together(*(kind.of_window(parse_window(name).seconds) for kind in kinds))
        for name in windows
    }
    return ModelEstimates(by_window, delays_of([*hours.values(), *numbers.values()]))


def _counts(cohort: Cohort, numbers: Cohort) -> BucketCounts:
    sums: Sums = {}
    for label, items in cohort.predicted.items():
        contribute_prediction(label, sums, items)
    for cell, delays in cohort.judged.items():
        for bucket, items in enumerate(delays):
            if items:
                contribute(cell, bucket, sums, items)
    for unit, items in numbers.predicted.items():
        contribute_predicted(unit, sums, items)
    for cell, delays in numbers.judged.items():
        for bucket, items in enumerate(delays):
            add(
                sums,
                Sum.NUMBER_DELAY,
                items,
                cell.predicted,
                int(cell.actual) * CLASS_BINS + bucket,
            )
    for cell, size in numbers.sizes.items():
        add(sums, Sum.NUMBER_SIZE, size, cell.predicted, int(cell.actual))
    counts = _FACTORY.new()
    counts.change_by(Counts(sum(cohort.predicted.values()), sums=sums))
    return counts
