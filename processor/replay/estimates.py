"""The nowcast of a replay: what one would have said of each model at the end of what is known."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.join.requests.request import positions
from processor.domain.join.state import JoinState
from processor.domain.model_key import ModelKey
from processor.domain.nowcast_result import drift_result, nowcast_result
from processor.domain.results import Replay
from processor.domain.statistics.delays import Cohort, bucket_of, total
from processor.domain.statistics.drift import drift
from processor.domain.statistics.error_delays import add_measured, unit_label
from processor.domain.statistics.nowcast import first_immature
from processor.domain.tally.estimates import Estimates, Estimator, put_together
from processor.domain.tally.windows import DAY, HOURS, TIERS
from processor.domain.timestamps import HOUR, SECOND
from processor.domain.values import DEFAULT_UNIT, NUMBER
from processor.replay.selection import Selection

_WEEK = 7 * DAY * SECOND
#: The live service keeps the hours of so many seconds, and the sum of all of them.
_KEPT = TIERS[HOURS].keep

NO_TIMES = "no feedback has a time of its own, so the delays are unknown"


class KindCohorts(NamedTuple):
    """The predictions of labels, or of numbers, by hour since 1970: all, and those of the selected
    time. ``by_day`` has the judged items, and the right ones or the sum of the absolute errors, by the
    day of the feedback."""

    hours: dict[int, Cohort]
    window: dict[int, Cohort]
    by_day: dict[int, list[float]]

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not any(cohort.predicted or cohort.judged for cohort in self.window.values())


class ModelCohorts(NamedTuple):
    """The predictions of one model, of labels and of numbers. ``earlier`` are the items by predicted
    label of the same length of time before the selected one, and of a week ago; ``delayed`` is whether
    any feedback has another time than its prediction."""

    labels: KindCohorts
    numbers: KindCohorts
    earlier: tuple[Cohort, Cohort]
    delayed: list[bool]

    @property
    def is_of_numbers(self) -> bool:
        """Whether the model answers with numbers alone."""
        return self.labels.is_empty

    @property
    def shown(self) -> KindCohorts:
        """The cohorts that plots show: those of labels, if there are any."""
        return self.numbers if self.is_of_numbers else self.labels


class ModelEstimates(NamedTuple):
    """The estimates of one model, and what they come from; ``estimator`` is that of ``cohorts.shown``,
    and ``now`` is in seconds."""

    estimates: Estimates
    cohorts: ModelCohorts
    estimator: Estimator
    now: float


def with_estimates(replay: Replay, estimates: Mapping[ModelKey, ModelEstimates]) -> Replay:
    """Return the results with the nowcast and the drift of the models that have them."""
    models = []
    for model in replay.models:
        key = ModelKey(model.namespace, model.deployment, model.predictor, model.model)
        if (found := estimates.get(key)) is not None:
            model = msgspec.structs.replace(
                model,
                nowcast=nowcast_result(found.estimates),
                drift=drift_result(found.estimates),
            )
        models.append(model)
    return msgspec.structs.replace(replay, models=tuple(models))


def model_estimates(
    joined_predictions: Iterable[JoinedPrediction],
    state: JoinState,
    selection: Selection,
    maturity: float,
) -> dict[ModelKey, ModelEstimates]:
    """Return the estimates of each selected model of labels or numbers for the predictions from
    ``--from`` to ``--to``, on the request basis.

    They are made at ``--as-of``, or else at the latest time there is. Predictions of all times tell the
    delays; ``maturity`` is in seconds. The drift needs both ends of the selected time.
    """
    found: dict[int, ModelCohorts] = {}
    latest = 0
    spans = _earlier_spans(selection)
    for joined in joined_predictions:
        prediction, feedback, _ = joined
        latest = max(latest, prediction.time, feedback.time if feedback is not None else 0)
        cohorts = found.get(prediction.model)
        if cohorts is None:
            labels, numbers = (KindCohorts({}, {}, {}) for _ in range(2))
            cohorts = ModelCohorts(labels, numbers, (Cohort(), Cohort()), [])
            found[prediction.model] = cohorts
        _add(cohorts, joined, state, selection, spans)
    now = (selection.as_of if selection.as_of is not None else latest) / SECOND
    return {
        key: _estimates(cohorts, now, maturity)
        for model, cohorts in found.items()
        if selection.matches(key := state.models[model]) and not cohorts.shown.is_empty
    }


def _earlier_spans(selection: Selection) -> list[Selection]:
    """The same length of time before the selected one, and the selected one a week before."""
    start, end = selection.start, selection.end
    if start is None or end is None:
        return []
    return [selection._replace(start=start - back, end=end - back) for back in (end - start, _WEEK)]


def _add(
    cohorts: ModelCohorts,
    joined: JoinedPrediction,
    state: JoinState,
    selection: Selection,
    spans: list[Selection],
) -> None:
    prediction, feedback, outcome = joined
    time = prediction.time
    hour = time // HOUR
    is_in_range = selection.in_range(time)
    labels, numbers = (
        [
            kind.hours.setdefault(hour, Cohort()),
            *([kind.window.setdefault(hour, Cohort())] if is_in_range else ()),
        ]
        for kind in (cohorts.labels, cohorts.numbers)
    )
    counted = labels + [
        cohort for span, cohort in zip(spans, cohorts.earlier, strict=False) if span.in_range(time)
    ]
    for place in positions(prediction.answers):
        answer = state.answers[place]
        if answer.label is not None:
            for cohort in counted:
                cohort.add_predicted(answer.label, 1)
        elif answer.mode == NUMBER:
            for cohort in numbers:
                cohort.add_predicted(unit_label(answer.schema.unit), 1)
    if feedback is None or outcome is None:
        return
    if not cohorts.delayed and feedback.time != time:
        cohorts.delayed.append(True)
    bucket = bucket_of(feedback.time - time)
    day = feedback.time // (DAY * SECOND)
    for cell, items in outcome.cells().items():
        _count(cohorts.labels, day, items, items * (cell.actual == cell.predicted))
        for cohort in labels:
            cohort.add_judged(cell, bucket, items)
    for item in outcome.measured:
        _count(cohorts.numbers, day, 1, item.size * 10.0 ** int(item.unit or DEFAULT_UNIT))
        for cohort in numbers:
            add_measured(cohort, item, bucket)


def _count(kind: KindCohorts, day: int, items: int, amount: float) -> None:
    sums = kind.by_day.setdefault(day, [0, 0])
    sums[0] += items
    sums[1] += amount


def _estimates(cohorts: ModelCohorts, now: float, maturity: float) -> ModelEstimates:
    found = [
        (_estimator(kind, now, maturity, is_numbers), kind)
        for kind, is_numbers in ((cohorts.labels, False), (cohorts.numbers, True))
        if not kind.is_empty
    ]
    estimates, *others = [estimator.of_cohorts(kind.window) for estimator, kind in found]
    for other in others:
        estimates = put_together(estimates, other)
    if not cohorts.is_of_numbers:
        predicted = estimates.predicted
        before, week = (drift(predicted, cohort.predicted) for cohort in cohorts.earlier)
        estimates = estimates._replace(drift=before, drift_of_week=week)
    if estimates.nowcast.judged and not cohorts.delayed:
        # As in a table without feedback times: every label would seem to come at once.
        estimates = estimates._replace(nowcast=estimates.nowcast.withhold(NO_TIMES), hindcast=[])
    return ModelEstimates(estimates, cohorts, found[0][0], now)


def _estimator(kind: KindCohorts, now: float, maturity: float, numbers: bool) -> Estimator:
    first = first_immature(now, _KEPT)
    kept = {hour: cohort for hour, cohort in kind.hours.items() if hour >= first}
    return Estimator(kept.items(), total(kind.hours.values()), now, maturity, numbers)
