"""The data behind the plots of late labels in a report (counting rule 30)."""

from processor.domain.tally.late_days import LateDays, late_days
from processor.replay.estimates import ModelEstimates


def late_labels_of(found: ModelEstimates) -> LateDays:
    """Return what the plots of a model show of the selected time; nothing if no prediction is mature."""
    cohorts = found.cohorts
    if not cohorts.delayed:
        return LateDays()
    shown = cohorts.shown
    return late_days(shown.window, shown.by_day, found.estimator, found.now)
