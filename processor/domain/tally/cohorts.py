"""The cohorts of one model's predictions, in the buckets of its tally (counting rule 30)."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from processor.domain.statistics.delays import Cohort, cohort_of
from processor.domain.statistics.error_delays import number_cohort_of
from processor.domain.statistics.sums import Sum
from processor.domain.statistics.verdicts import VERDICTS, Outcomes, verdicts
from processor.domain.tally.bucket_counts import BucketCounts


class Cohorts(NamedTuple):
    """The counts on the request basis by hour since 1970, and those of all time."""

    by_hour: Mapping[int, BucketCounts]
    of_all_time: BucketCounts | None

    def hours(self) -> Iterator[tuple[int, Cohort]]:
        """Yield each hour with its cohort of labels."""
        for hour, counts in self.by_hour.items():
            yield hour, cohort_of(counts.delays)

    def whole(self) -> Cohort:
        """Return the cohort of labels of all time."""
        counts = self.of_all_time
        return Cohort() if counts is None else cohort_of(counts.delays)

    def whole_numbers(self) -> Cohort:
        """Return the cohort of numbers of all time."""
        counts = self.of_all_time
        return Cohort() if counts is None else number_cohort_of(counts.delays)

    def outcomes(self) -> Outcomes:
        """Return the items that were ever counted as right or wrong, and those taken back."""
        counts = self.of_all_time
        if counts is None:
            return Outcomes((0, 0), (0, 0))
        right, wrong = verdicts(counts)
        no_right, no_wrong = (counts.delay_sum(Sum.RETRACTED, verdict) for verdict in VERDICTS)
        return Outcomes((right + no_right, wrong + no_wrong), (no_right, no_wrong))
