"""Render a report as text for a terminal."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import msgspec

from processor.domain.results import ClassResult, Events, MeanResult, ModelResult
from processor.domain.timestamps import parse_time
from processor.publish.panels import Parts, decided_items, parts_of
from processor.report.compare import (
    Comparison,
    Comparisons,
    SignificanceTest,
    model_key,
    period_title,
    score_of,
)
from processor.report.data import Report
from processor.report.formats.late_labels import drift_sentence, hindcast_rows, sentences
from processor.report.formats.matrix import matrix
from processor.report.formats.plots import amount

#: Maximum width of a matrix, in columns of the terminal.
_MAX_WIDTH = 100
#: Maximum length of a class label.
_MAX_LABEL = 24
#: Maximum number of classes in a matrix.
_MAX_COLUMNS = 12
#: Maximum number of classes in the table of scores; JSON and CSV have them all.
_MAX_ROWS = 40


def render_text(report: Report) -> Iterator[str]:
    """The text of a report, in pieces."""
    replay = report.replay
    yield f"{_period(replay.from_, replay.to)}, by time of {replay.by}\n\n"
    for model in replay.models:
        yield render_model(model)
    if not replay.models:
        yield "no predictions\n\n"
    if report.comparisons is not None:
        yield from render_comparisons(report.comparisons)
    yield _events(replay.events) + "\n"


def render_comparisons(comparisons: Comparisons) -> Iterator[str]:
    """The text of comparisons, and the names of models without a counterpart."""
    for comparison in comparisons.comparisons:
        yield _comparison(comparison)
    for line in not_compared(comparisons):
        yield f"{line}\n\n"


def render_model(model: ModelResult) -> str:
    """The scores, the confusion matrix and the scores by class of one model."""
    parts = parts_of(model)
    lines = [printable("/".join(model_key(model)), 200)]
    if parts.numbers:
        lines += _numbers(model)
    if parts.labels or parts.sets:
        lines.append(_accuracy(model, parts))
    if parts.sets:
        jaccard, hamming = ratio(model.jaccard), ratio(model.hamming_loss)
        lines.append(f"  label sets   Jaccard index {jaccard}  Hamming loss {hamming}")
    if model.predictions is not None:
        lines.append(
            f"  coverage     {ratio(model.coverage)}  {model.judged:,} judged of "
            f"{model.predictions:,} predicted"
        )
    if parts.labels:
        mcc, kappa = ratio(model.mcc), ratio(model.kappa)
        lines.append(f"  correlation  Matthews {mcc}  Cohen's kappa {kappa}")
    if parts.probabilities:
        lines += _probabilities(model)
    for name, own in model.custom.items():
        values = "  ".join(f"{printable(score, 40)} {amount(each)}" for score, each in own.items())
        lines.append(f"  {name:<11}  {values or 'no scores'}")
    for name, items in model.custom_failed.items():
        lines.append(f"  {printable(name, 80)} failed on {items:,} items, which it does not have")
    if model.rewards:
        lines.append(f"  reward       mean {ratio(model.reward_mean)}  of {model.rewards:,}")
    if model.disagreements:
        lines.append(f"  reward and truth disagree in {model.disagreements:,} feedbacks")
    if model.unknown_actual:
        lines.append(
            f"  {model.unknown_actual:,} items were wrong with an unknown actual label: they are in "
            "no class, whose scores look better than they are"
        )
    if model.confusion:
        lines += ["", *_matrix(model)]
    if model.classes:
        lines += ["", *_scores(model)]
    lines += _late_labels(model)
    return "\n".join(lines) + "\n\n"


def _late_labels(model: ModelResult) -> Iterator[str]:
    """The nowcast in words, how right it would have been, and the drift."""
    if model.nowcast is not None:
        yield from ("", "  while labels are late:")
    for sentence in sentences(model):
        yield f"  {sentence}"
    if rows := hindcast_rows(model):
        yield from table(rows)
    if (change := drift_sentence(model)) is not None:
        yield f"  {change}"


def _accuracy(model: ModelResult, parts: Parts) -> str:
    name = "accuracy    " if parts.labels else "exact match "
    interval = f"[{ratio(model.accuracy_low)}, {ratio(model.accuracy_high)}]"
    of = f"{model.correct:,} correct of {decided_items(model):,} judged"
    return f"  {name} {ratio(model.accuracy)}  {interval}  {of}"


def _numbers(model: ModelResult) -> Iterator[str]:
    yield (
        f"  MAE          {amount(model.mae)}  [{amount(model.mae_low)}, {amount(model.mae_high)}]  "
        f"{model.measured:,} judged as numbers"
    )
    yield f"  errors       RMSE {amount(model.rmse)}  bias {amount(model.bias)}"
    line = f"slope {ratio(model.slope)}  intercept {amount(model.intercept)}"
    yield f"  fit          R2 {ratio(model.r2)}  correlation {ratio(model.correlation)}  {line}"
    yield f"  relative     MAPE {ratio(model.mape)}  WAPE {ratio(model.wape)}"
    shares = [
        f"{float(rank):.0%} {amount(value)}"
        for rank, value in model.absolute_error_quantiles.items()
    ]
    yield f"  error up to  {'  '.join(shares)}"
    if model.within_tolerance is not None:
        low, high = ratio(model.accuracy_low), ratio(model.accuracy_high)
        yield f"  tolerance    {ratio(model.within_tolerance)} within  [{low}, {high}]"
    yield f"  means        predicted {amount(model.mean_predicted)}  actual {amount(model.mean_actual)}"
    deviations = (amount(model.deviation_predicted), amount(model.deviation_actual))
    yield "  deviations   predicted {}  actual {}".format(*deviations)


def _probabilities(model: ModelResult) -> Iterator[str]:
    ece = f"calibration error {ratio(model.calibration_error)}"
    if model.brier_score is None:
        yield f"  confidence   {ece}"
        return
    brier, loss = ratio(model.brier_score), ratio(model.log_loss)
    yield f"  probability  Brier {brier}  log loss {loss}  {ece}"
    if model.roc_auc is not None:
        auc = f"ROC AUC {ratio(model.roc_auc)} +- {ratio(model.roc_auc_error_bound)}"
        yield f"  ranking      {auc}  average precision {ratio(model.average_precision)}"
    if model.top_k_accuracy:
        shares = "  ".join(f"top {k} {ratio(each)}" for k, each in model.top_k_accuracy.items())
        yield f"  ranking      {shares}  reciprocal rank {ratio(model.reciprocal_rank)}"
    best = model.best_threshold
    if best is not None:
        f1 = next((each.f1 for each in model.thresholds if each.threshold == best), None)
        current = "" if model.threshold is None else f"{ratio(model.threshold)}  "
        yield f"  threshold    {current}best F1 {ratio(f1)} at {ratio(best)}"


def _matrix(model: ModelResult) -> list[str]:
    """A matrix of as many of the largest classes as fit: the names of columns are shortened first,
    then classes are left out."""
    for classes, length in [(_MAX_COLUMNS, each) for each in (_MAX_LABEL, 14, 8)] + [
        (classes, 8) for classes in range(_MAX_COLUMNS - 1, 0, -1)
    ]:
        shown = matrix(model, classes)
        lines = table(
            [
                ["actual \\ predicted", *(printable(label, length) for label in shown.labels)],
                *(
                    [printable(label, _MAX_LABEL), *(f"{n:,}" for n in row)]
                    for label, row in zip(shown.labels, shown.counts, strict=True)
                ),
            ]
        )
        if max(map(len, lines)) <= _MAX_WIDTH:
            break
    if shown.hidden:
        lines.append(f"  other: {shown.hidden:,} smaller classes")
    return lines


def _scores(model: ModelResult) -> list[str]:
    largest = sorted(model.classes, key=lambda label: -model.classes[label].support)[:_MAX_ROWS]
    areas = any(each.roc_auc is not None for each in model.classes.values())
    kind = "class" if model.confusion else "label"
    rows = [[kind, "precision", "recall", "specificity", "F1", "support"]]
    rows[0] += ["ROC AUC", "av. precision"] if areas else []
    rows += [
        [printable(label, _MAX_LABEL), *_four(each), f"{each.support:,}"]
        + ([ratio(each.roc_auc), ratio(each.average_precision)] if areas else [])
        for label, each in model.classes.items()
        if label in largest
    ]
    means = {"macro": model.macro, "weighted": model.weighted, "micro": model.micro}
    rows += [[f"({name})", *_four(mean), ""] for name, mean in means.items()]
    lines = table(rows)
    if len(model.classes) > _MAX_ROWS:
        lines.append(f"  and {len(model.classes) - _MAX_ROWS:,} smaller classes")
    return lines


def _four(scores: ClassResult | MeanResult) -> list[str]:
    return [
        ratio(scores.precision),
        ratio(scores.recall),
        ratio(scores.specificity),
        ratio(scores.f1),
    ]


#: What the text and the HTML of comparisons call the scores of `COMPARED`.
NAMES = {
    "brier_score": "Brier score", "log_loss": "log loss", "roc_auc": "ROC AUC",
    "average_precision": "average precision", "calibration_error": "calibration error",
    "reciprocal_rank": "reciprocal rank", "mae": "MAE", "rmse": "RMSE", "r2": "R2", "mape": "MAPE",
    "wape": "WAPE", "within_tolerance": "within tolerance", "exact_match": "exact match",
    "hamming_loss": "Hamming loss", "jaccard": "Jaccard index",
}  # fmt: skip
#: Of these, the ones in the measure of the numbers.
_AMOUNTS = ("bias", "mae", "rmse")


def compared(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """The scores beside the accuracy that both sides have: name, first, second and second less first."""
    for name, difference in comparison.differences.items():
        own = name.startswith("custom.")
        shown = amount if own or name in _AMOUNTS else ratio
        values = [
            shown(score_of(side.result, name)) for side in (comparison.first, comparison.second)
        ]
        sign = "+" if difference >= 0 else ""
        title = printable(name.partition(".")[2], 60) if own else NAMES.get(name, name)
        yield title, values[0], values[1], sign + shown(difference)


def _comparison(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    one, other = first.result, second.result
    shown: list[tuple[str, Callable[[ModelResult], str]]] = [
        ("predictions", lambda model: count(model.predictions)),
        ("judged", lambda model: count(model.judged)),
        ("coverage", lambda model: ratio(model.coverage)),
    ]
    if comparison.difference is not None or not comparison.differences:
        shown += [
            ("correct", lambda model: count(model.correct)),
            ("accuracy", lambda model: ratio(model.accuracy)),
            ("  95 % from", lambda model: ratio(model.accuracy_low)),
            ("  to", lambda model: ratio(model.accuracy_high)),
            ("macro F1", lambda model: ratio(model.macro.f1)),
            ("Matthews", lambda model: ratio(model.mcc)),
        ]
    values = [*compared(comparison)]
    rows = [["", printable(first.title, 60), printable(second.title, 60)]]
    rows[0] += ["difference"] if values else []
    rows += [[name, value(one), value(other)] for name, value in shown]
    rows += [[*row] for row in values]
    name = f"{one.namespace}/{one.deployment}"
    if one.predictor == other.predictor:
        name += f"/{one.predictor}/{one.model}"
    lines = [f"comparison: {printable(name, 200)}", *table(rows)]
    if comparison.difference is not None:
        lines.append(f"  accuracy of the second less the first: {comparison.difference:+.4f}")
    lines += [f"  {significance(test)}" for test in comparison.tests] or ["  no test applies"]
    return "\n".join(lines) + "\n\n"


def significance(test: SignificanceTest) -> str:
    """The result of a significance test in one line."""
    parts = [f"{test.name}: p = {test.p_value:.4g}"]
    if test.statistic is not None:
        parts.append(f"statistic {test.statistic:.4f}")
    if test.pairs is not None:
        parts.append(
            f"{test.pairs:,} items answered by both, right only in the first {test.only_first:,}, "
            f"only in the second {test.only_second:,}"
        )
    return ", ".join(parts)


def not_compared(comparisons: Comparisons) -> Iterator[str]:
    """The message about models without a counterpart, or that there is nothing to compare."""
    if comparisons.not_compared:
        names = ", ".join(printable(name, 200) for name in comparisons.not_compared)
        yield f"not compared, having no counterpart: {names}"
    elif not comparisons.comparisons:
        yield "nothing to compare"


def _events(events: Events) -> str:
    """The counters of events that are not zero, dead letters among them."""
    counts = msgspec.structs.asdict(events)
    by_reason = {
        "not_scorable": counts.pop("not_scorable"),
        "dead_letters": counts.pop("dead_letters"),
    }
    parts = [f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if n or name == "read"]
    for name, reasons in by_reason.items():
        parts += [f"{name.replace('_', ' ')} {reason} {n}" for reason, n in reasons.items()]
    return "events: " + ", ".join(parts)


def _period(start: str | None, end: str | None) -> str:
    return period_title(*(parse_time(time) if time is not None else None for time in (start, end)))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with aligned columns, the first one to the left, the others to the right;
    without trailing spaces."""
    widths = [max(map(_columns, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = []
    for first, *rest in rows:
        cells = [first + " " * (widths[0] - _columns(first))]
        cells += [
            " " * (width - _columns(cell)) + cell
            for width, cell in zip(widths[1:], rest, strict=False)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _columns(text: str) -> int:
    """The number of terminal columns that a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def printable(text: str, length: int) -> str:
    r"""Untrusted text as one line of at most ``length`` characters without control characters.

    >>> printable("cat\x1b[2J", 20), printable("abcdef", 4), printable("", 4)
    ('cat\\x1b[2J', 'abc…', '(empty)')
    """
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return (shown if len(shown) <= length else shown[: length - 1] + "…") or "(empty)"


def ratio(value: float | None) -> str:
    """A ratio with four digits; a dash for None."""
    return "-" if value is None else f"{value:.4f}"


def count(value: int | None) -> str:
    """A number with thousands separators; a dash for None."""
    return "-" if value is None else f"{value:,}"
