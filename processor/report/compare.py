"""Compare two predictors, or two periods, and test whether they differ by more than chance."""

from collections.abc import Sequence

import msgspec

from processor.domain.join.judge import Item
from processor.domain.model_key import ModelKey
from processor.domain.results import ModelResult, model_result
from processor.domain.statistics.comparison import Significance, mcnemar, two_proportion_z
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import INSTANTS, format_time, parse_instant
from processor.publish.panels import decided_items
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection

#: The value of ``--compare`` that compares the predictors of a deployment.
PREDICTOR = "predictor"
#: The scores whose differences are compared beside the accuracy.
COMPARED = (
    "brier_score", "log_loss", "roc_auc", "average_precision", "calibration_error", "reciprocal_rank",
    "bias", "mae", "rmse", "r2", "correlation", "mape", "wape", "within_tolerance", "exact_match",
    "hamming_loss", "jaccard",
)  # fmt: skip


class SignificanceTest(msgspec.Struct, frozen=True):
    """The result of a significance test.

    ``p_value`` is two-sided; ``statistic`` is None for an exact test. A paired test has the number of
    items that both sides predicted (``pairs``), and of those that only one side predicted correctly.
    """

    name: str
    statistic: float | None
    p_value: float
    pairs: int | None = None
    only_first: int | None = None
    only_second: int | None = None


class Side(msgspec.Struct, frozen=True):
    """One side of a comparison: its title, and its results."""

    title: str
    result: ModelResult


class Comparison(msgspec.Struct, frozen=True):
    """Two sides and the tests of their difference.

    ``difference`` is the accuracy of the second side minus that of the first, None where either side
    has no judged items. The statistic of the z-test has the same sign. ``differences`` are those of the
    scores of probabilities, numbers and label sets that both sides have, by name; those of custom
    statistics are called ``custom.STATISTIC.SCORE``.
    """

    first: Side
    second: Side
    difference: float | None
    tests: tuple[SignificanceTest, ...]
    differences: dict[str, float] = {}


class Comparisons(msgspec.Struct, frozen=True):
    """All comparisons, and the names of the models without a counterpart."""

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...] = ()


def parse_period(text: str, by: str, now: int) -> Selection:
    """Parse a period ``FROM/TO`` of times as `parse_instant` takes them; one of them may be left out.
    ValueError with a message for users if it is not one.

    >>> parse_period("2026-11-20/", "request", 0).end
    >>> parse_period("yesterday", "request", 0)
    Traceback (most recent call last):
    ValueError: 'yesterday' is neither 'predictor' nor FROM/TO, as in 2026-11-19/2026-11-20
    """
    parts = text.split("/")
    times = [parse_instant(part, now) if part else None for part in parts]
    if len(parts) != 2 or not any(parts):
        raise ValueError(
            f"{text!r} is neither 'predictor' nor FROM/TO, as in 2026-11-19/2026-11-20"
        )
    for part, time in zip(parts, times, strict=True):
        if part and time is None:
            raise ValueError(f"{text!r}: {part!r} is not a time: write {INSTANTS}")
    start, end = times
    if start is not None and end is not None and start >= end:
        raise ValueError(f"{text!r}: FROM must be before TO")
    return Selection(by, start, end)


def compare_periods(fold: ReplayFold, other: Selection) -> Comparisons:
    """Compare each model in the ``other`` period (first) with the fold's own period (second)."""
    own = fold.selection
    other = other._replace(namespace=own.namespace, deployment=own.deployment)
    before, after = fold.counts(other), fold.counts(own)

    def side(period: Selection, counts: dict[ModelKey, Counts], key: ModelKey) -> Side:
        result = model_result(key, counts.get(key, Counts()), period.by, fold.rules)
        return Side(period_title(period.start, period.end), result)

    return Comparisons(
        tuple(
            _comparison(side(other, before, key), side(own, after, key), None)
            for key in sorted(before.keys() | after.keys())
        )
    )


def compare_predictors(fold: ReplayFold, results: Sequence[ModelResult]) -> Comparisons:
    """Compare the models of each predictor with those of its deployment's first predictor: ``default``,
    or else the first by name. Two models are compared if they have one name, or if each is the only one
    of its predictor."""
    baselines = [(_baseline(each, results), each) for each in results]
    compared = [
        (first, second) for first, second in baselines if first is not None and first is not second
    ]
    pairs = _pairs_of_requests(
        fold, {(model_key(first), model_key(second)) for first, second in compared}
    )
    return Comparisons(
        tuple(
            _comparison(
                Side(_title(first), first), Side(_title(second), second),
                pairs[model_key(first), model_key(second)],
            )
            for first, second in compared
        ),
        tuple("/".join(model_key(each)) for first, each in baselines if first is None),
    )  # fmt: skip


def compare_models(first: tuple[ReplayFold, Side], second: tuple[ReplayFold, Side]) -> Comparison:
    """Compare two models of one fold or of two. Items are paired by request id and row, unless a pair
    has two different actual labels: then equal ids are not equal requests."""
    (one, left), (other, right) = first, second
    firsts = dict(one.judged_items(model_key(left.result)))
    pairs = Pairs()
    for request_id, items in other.judged_items(model_key(right.result)):
        if not pairs.add(firsts.get(request_id, ()), items):
            return _comparison(left, right, Pairs())
    return _comparison(left, right, pairs)


class Pairs:
    """Counts items that both sides of a comparison predicted and that are judged on both."""

    def __init__(self) -> None:
        self.count = self.only_first = self.only_second = 0

    def add(self, firsts: Sequence[Item | None], seconds: Sequence[Item | None]) -> bool:
        """Count the items of one request, paired by row. Returns False if a pair has two different
        actual labels."""
        is_one_truth = True
        for first, second in zip(firsts, seconds, strict=False):
            if first is None or second is None or first.correct is None or second.correct is None:
                continue
            if None not in (first.actual, second.actual) and first.actual != second.actual:
                is_one_truth = False
            self.count += 1
            self.only_first += first.correct and not second.correct
            self.only_second += second.correct and not first.correct
        return is_one_truth


def period_title(start: int | None, end: int | None) -> str:
    """A period in words; ``start`` and ``end`` are in ns, None for an open end.

    >>> period_title(0, None), period_title(None, None)
    ('from 1970-01-01T00:00:00Z', 'all time')
    """
    parts = [
        f"{word} {format_time(time)}"
        for word, time in (("from", start), ("to", end))
        if time is not None
    ]
    return " ".join(parts) or "all time"


def _title(model: ModelResult) -> str:
    return f"{model.predictor or '(no name)'} / {model.model or '(no name)'}"


def _baseline(model: ModelResult, results: Sequence[ModelResult]) -> ModelResult | None:
    """The model that a model is compared with: itself if its predictor is the first; None if there is
    no such model."""
    others = [
        each
        for each in results
        if (each.namespace, each.deployment) == (model.namespace, model.deployment)
    ]
    predictors = {each.predictor for each in others}
    first = "default" if "default" in predictors else min(predictors)
    if model.predictor == first:
        return model if len(predictors) > 1 else None
    firsts = [each for each in others if each.predictor == first]
    same = [each for each in firsts if each.model == model.model]
    alone = len(firsts) == 1 == sum(each.predictor == model.predictor for each in others)
    return same[0] if same else firsts[0] if alone else None


def _pairs_of_requests(
    fold: ReplayFold, models: set[tuple[ModelKey, ModelKey]]
) -> dict[tuple[ModelKey, ModelKey], Pairs]:
    """The pairs of items of two ``models`` that predicted one request in the selected time."""
    found = {each: Pairs() for each in models}
    for request in fold.requests():
        if len(request) < 2:
            continue
        items = {
            key: fold.items(joined)
            for key, joined in request
            if fold.selection.contribution(joined) is not None
        }
        for (first, second), pairs in found.items():
            if first in items and second in items:
                pairs.add(items[first], items[second])
    return found


def _comparison(first: Side, second: Side, pairs: Pairs | None) -> Comparison:
    one, other = first.result, second.result
    tests = []
    z = two_proportion_z(other.correct, decided_items(other), one.correct, decided_items(one))
    if z is not None:
        tests.append(_test(z))
    if pairs is not None and pairs.count:
        paired = mcnemar(pairs.only_first, pairs.only_second)
        if paired is not None:
            tests.append(_test(paired, pairs.count, pairs.only_first, pairs.only_second))
    difference = None
    if one.accuracy is not None and other.accuracy is not None:
        difference = other.accuracy - one.accuracy
    return Comparison(first, second, difference, tuple(tests), _differences(one, other))


def score_of(model: ModelResult, name: str) -> float | None:
    """A score that is compared: one of `COMPARED`, or ``custom.STATISTIC.SCORE``."""
    if name in COMPARED:
        value: float | None = getattr(model, name)
        return value
    _, statistic, score = name.split(".", 2)
    return model.custom.get(statistic, {}).get(score)


def _differences(one: ModelResult, other: ModelResult) -> dict[str, float]:
    own = [f"custom.{name}.{score}" for name, scores in one.custom.items() for score in scores]
    pairs = [(name, score_of(one, name), score_of(other, name)) for name in (*COMPARED, *own)]
    return {
        name: second - first
        for name, first, second in pairs
        if first is not None and second is not None
    }


def _test(found: Significance, *pairs: int) -> SignificanceTest:
    return SignificanceTest(found.test, found.statistic, found.p_value, *pairs)


def model_key(model: ModelResult) -> ModelKey:
    """The four names of a result."""
    return ModelKey(model.namespace, model.deployment, model.predictor, model.model)
