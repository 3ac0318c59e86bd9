"""Counters and histograms of a worker."""

from itertools import permutations

from processor.telemetry import DELAY_BOUNDS, Histogram


def test_the_sum_of_a_histogram_does_not_depend_on_the_order() -> None:
    """As floats, 60 s and 59.999999999 s and 1 ns sum to 120 s or to a little more."""
    sums = set()
    for delays in permutations((60_000_000_000, 59_999_999_999, 1)):
        histogram = Histogram(DELAY_BOUNDS)
        for delay in delays:
            histogram.observe_ns(delay)
        sums.add((histogram.total, tuple(histogram.buckets)))
    assert len(sums) == 1
    assert sums.pop()[0] == 120.0
