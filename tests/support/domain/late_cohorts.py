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
from processor.domain.statistics.sums import Sums
from processor.domain.tally.bucket_counts import BucketCounts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.estimates import Estimator
from processor.domain.tally.windows import parse_window
from processor.publish.estimates.live import ModelEstimates
from tests.support.late_worlds import DAY, Events, World

#: The time (s) at which a simulated model is looked at.
END = 12.0 * DAY - 60


def late_hours(classes: int = 2, seed: int = 5, now: float = END) -> dict[int, Cohort]:
    """The cohorts by hour of a model with 1,200 predictions a day, at ``now``."""
    return Events(World(days=12, per_day=1200, classes=classes), seed).cohorts(now)


def tallied(hours: Mapping[int, Cohort]) -> Cohorts:
    """The cohorts of a tally with these hours."""
    by_hour = {hour: _counts(cohort) for hour, cohort in hours.items()}
    return Cohorts(by_hour, _counts(total(hours.values())))


def delays_of(cohorts: Iterable[Cohort]) -> list[int]:
    """The judged items by bucket of the delay."""
    found = [0] * BUCKETS
    for cohort in cohorts:
        for delays in cohort.judged.values():
            found = [one + other for one, other in zip(found, delays, strict=True)]
    return found


def late_estimates(*windows: str) -> ModelEstimates:
    """The estimates of a model at `END`."""
    hours = late_hours()
    estimator = Estimator(hours.items(), total(hours.values()), END, 7 * DAY)
    by_window = {name: estimator.of_window(parse_window(name).seconds) for name in windows}
    return ModelEstimates(by_window, delays_of(hours.values()))


def _counts(cohort: Cohort) -> BucketCounts:
    sums: Sums = {}
    for label, items in cohort.predicted.items():
        contribute_prediction(label, sums, items)
    for cell, delays in cohort.judged.items():
        for bucket, items in enumerate(delays):
            if items:
                contribute(cell, bucket, sums, items)
    counts = BucketCounts()
    counts.change_by(Counts(sum(cohort.predicted.values()), sums=sums))
    return counts
