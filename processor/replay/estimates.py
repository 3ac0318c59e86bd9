"""The nowcast of a replay: what one would have said of each model at the end of what is known."""

from collections.abc import Iterable

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.join.requests.request import positions
from processor.domain.join.state import JoinState
from processor.domain.model_key import ModelKey
from processor.domain.statistics.delays import Cohort, bucket_of
from processor.domain.statistics.nowcast import hour_of
from processor.domain.tally.estimates import Estimates, Estimator
from processor.domain.timestamps import SECOND
from processor.replay.selection import Selection


def model_estimates(
    joined_predictions: Iterable[JoinedPrediction],
    state: JoinState,
    selection: Selection,
    maturity: float,
) -> dict[ModelKey, Estimates]:
    """Return the estimates of each selected model for the predictions from ``--from`` to ``--to``.

    They are made at ``--as-of``, or else at ``--to`` or at the latest time there is, if that is later.
    Predictions of all times tell the delays; ``maturity`` is in seconds.
    """
    whole: dict[int, dict[int, Cohort]] = {}
    windows: dict[int, dict[int, Cohort]] = {}
    latest = selection.end or 0
    for prediction, feedback, outcome in joined_predictions:
        hour, model = hour_of(prediction.time / SECOND), prediction.model
        latest = max(latest, prediction.time)
        cohorts = [whole.setdefault(model, {}).setdefault(hour, Cohort())]
        if selection.in_range(prediction.time):
            cohorts.append(windows.setdefault(model, {}).setdefault(hour, Cohort()))
        for answer in positions(prediction.answers):
            label = state.answers[answer].label
            if label is not None:
                for cohort in cohorts:
                    cohort.add_predicted(label, 1)
        if feedback is None or outcome is None:
            continue
        latest = max(latest, feedback.time)
        bucket = bucket_of(feedback.time - prediction.time)
        for cell, items in outcome.cells().items():
            for cohort in cohorts:
                cohort.add_judged(cell, bucket, items)
    now = (selection.as_of if selection.as_of is not None else latest) / SECOND
    found = {}
    for model, window in windows.items():
        key, hours = state.models[model], whole[model]
        if selection.matches(key):
            everything = Cohort()
            for cohort in hours.values():
                everything.add(cohort)
            estimator = Estimator(hours.items(), everything, now, maturity)
            found[key] = estimator.of_cohorts(window)
    return found
