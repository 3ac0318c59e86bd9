"""Two predictors, or two periods, side by side, and whether they differ by more than chance."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from processor.domain.join.judge import Item
from processor.domain.model_key import ModelKey
from processor.domain.results import ModelResult, model_result
from processor.domain.statistics.comparison import Significance, mcnemar, two_proportion_z
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import INSTANTS, format_time, parse_instant
from processor.replay.fold import ReplayFold, Selection, contribution

PREDICTOR = "predictor"


class SignificanceTest(msgspec.Struct, frozen=True):
    """A significance test; ``pairs`` are the items that both sides answered, where it is of pairs,
    ``only_first`` and ``only_second`` those that one side alone had right."""

    name: str
    statistic: float | None
    p_value: float
    pairs: int | None = None
    only_first: int | None = None
    only_second: int | None = None


class Side(msgspec.Struct, frozen=True):
    """One side of a comparison: what it is called, and its numbers."""

    title: str
    result: ModelResult


class Comparison(msgspec.Struct, frozen=True):
    """``difference`` is the second side's accuracy less the first's, None where either has none; a
    z has its sign."""

    first: Side
    second: Side
    difference: float | None
    tests: tuple[SignificanceTest, ...]


class Comparisons(msgspec.Struct, frozen=True):
    """All that was compared, and the names of models that found nothing to be compared with."""

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...] = ()


def parse_period(text: str, by: str, now: int) -> Selection:
    """``FROM/TO``, times as `parse_instant` takes them; either may be left out. ValueError says what is
    wrong.

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
    """Each model in the ``other`` period (first) and in the fold's own (second)."""
    own = fold.selection
    other = other._replace(namespace=own.namespace, deployment=own.deployment)
    before, after = fold.counts(other), fold.counts(own)

    def side(period: Selection, counts: dict[ModelKey, Counts], key: ModelKey) -> Side:
        result = model_result(key, counts.get(key, Counts()), period.by)
        return Side(period_title(period.start, period.end), result)

    return Comparisons(
        tuple(
            _comparison(side(other, before, key), side(own, after, key), None)
            for key in sorted(before.keys() | after.keys())
        )
    )


def compare_predictors(fold: ReplayFold, results: Sequence[ModelResult]) -> Comparisons:
    """The model of each predictor beside that of its deployment's first one: ``default``, or else
    the first by name. Models belong together by name, or where each predictor has just one."""
    pairs = [(_partner(each, results), each) for each in results]
    found = [(first, second) for first, second in pairs if first is not None and first != second]
    discordant = _discordant(
        fold, {(model_key(first), model_key(second)) for first, second in found}
    )
    return Comparisons(
        tuple(
            _comparison(
                Side(_title(first), first), Side(_title(second), second),
                discordant.get((model_key(first), model_key(second))),
            )
            for first, second in found
        ),
        tuple("/".join(model_key(each)) for first, each in pairs if first is None),
    )  # fmt: skip


def compare_models(first: tuple[ReplayFold, Side], second: tuple[ReplayFold, Side]) -> Comparison:
    """Two models of one fold or two. Items pair up by request id and row, unless they turn out to be
    of different requests."""
    (one, left), (other, right) = first, second
    pairs = _paired(
        dict(one.judged_items(model_key(left.result))), other.judged_items(model_key(right.result))
    )
    return _comparison(left, right, pairs)


def _paired(
    firsts: dict[str, list[Item | None]], seconds: Iterable[tuple[str, list[Item | None]]]
) -> tuple[int, int, int] | None:
    """Items judged of both, and those that the first alone, and the second alone, had right. None
    where one request has two truths: then equal ids (the numbers of rows) are not equal requests."""
    n = only_first = only_second = 0
    for request_id, items in seconds:
        for one, other in zip(firsts.get(request_id, ()), items, strict=False):
            if one is None or other is None:
                continue
            if None not in (one.actual, other.actual) and one.actual != other.actual:
                return None
            n += 1
            only_first += one.correct and not other.correct
            only_second += other.correct and not one.correct
    return (n, only_first, only_second) if n else None


def period_title(start: int | None, end: int | None) -> str:
    """A period in words; ``start`` and ``end`` in ns.

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


def _partner(model: ModelResult, results: Sequence[ModelResult]) -> ModelResult | None:
    """What a model is compared with: itself if it is of the first predictor; None if there is
    nothing."""
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


def _discordant(
    fold: ReplayFold, pairs: set[tuple[ModelKey, ModelKey]]
) -> dict[tuple[ModelKey, ModelKey], tuple[int, int, int]]:
    """Of each pair: items judged of both, items that the first alone, and the second alone, had
    right. Only items of one request and row pair up."""
    found: dict[tuple[ModelKey, ModelKey], list[int]] = defaultdict(lambda: [0, 0, 0])
    for request in fold.requests():
        if len(request) < 2:
            continue
        joined_predictions = {
            key: joined
            for key, joined in request
            if contribution(joined, fold.selection) is not None
        }
        for first, second in pairs:
            if first not in joined_predictions or second not in joined_predictions:
                continue
            rows = zip(
                fold.right(joined_predictions[first]),
                fold.right(joined_predictions[second]),
                strict=False,
            )
            for one, other in rows:
                if one is None or other is None:
                    continue
                counts = found[first, second]
                counts[0] += 1
                counts[1] += one and not other
                counts[2] += other and not one
    return {pair: (n, one, other) for pair, (n, one, other) in found.items()}


def _comparison(first: Side, second: Side, pairs: tuple[int, int, int] | None) -> Comparison:
    one, other = first.result, second.result
    tests = []
    z = two_proportion_z(other.correct, other.judged, one.correct, one.judged)
    if z is not None:
        tests.append(_test(z))
    if pairs is not None:
        paired = mcnemar(pairs[1], pairs[2])
        if paired is not None:
            tests.append(_test(paired, *pairs))
    difference = None
    if one.accuracy is not None and other.accuracy is not None:
        difference = other.accuracy - one.accuracy
    return Comparison(first, second, difference, tuple(tests))


def _test(found: Significance, *pairs: int) -> SignificanceTest:
    return SignificanceTest(found.test, found.statistic, found.p_value, *pairs)


def model_key(model: ModelResult) -> ModelKey:
    """The four names of a result."""
    return ModelKey(model.namespace, model.deployment, model.predictor, model.model)
