"""Panels of probabilities, of numbers and of custom statistics in a model's card of the HTML
report."""

from collections.abc import Iterator, Sequence

from processor.domain.results import ModelResult
from processor.publish.panels import shown_thresholds
from processor.publish.terms import AGREEMENT_NOTE, THRESHOLDS_NOTE
from processor.report.formats.curves import (
    agreement_plot,
    error_histogram,
    precision_recall_plot,
    reliability_plot,
    roc_plot,
)
from processor.report.formats.markup import Markup, join, tag
from processor.report.formats.plots import amount, percent, score_text
from processor.report.formats.text import printable


def section(title: str, plot: Markup, *before: Markup) -> Iterator[Markup]:
    """A section of a title and a plot; none where the plot is empty."""
    if plot:
        yield tag("section", tag("h3", title), *before, plot)


def probability_panels(model: ModelResult) -> Iterator[Markup]:
    """Reliability, ROC and precision-recall curves, the scores, and the table of thresholds."""
    marks = keys(("best", "best F1"))
    if model.threshold is not None:
        marks = keys(("current", f"current threshold {model.threshold:g}"), ("best", "best F1"))
    sections = [
        *section(
            "Reliability diagram",
            reliability_plot(model),
            keys(("bubble", "items, by area"), ("even-key", "ideal")),
        ),
        *section("ROC curve", roc_plot(model), marks),
        *section("Precision and recall", precision_recall_plot(model), marks),
        tag("section", tag("h3", "Scores of the probabilities"), _pairs(_scores(model))),
    ]
    if model.thresholds:
        title = tag("h3", "If another threshold decided")
        note = tag("p", THRESHOLDS_NOTE, class_="quiet note")
        sections.append(tag("section", title, _thresholds(model), note))
    yield tag("div", *sections, class_="beside wide")


def _agreement(model: ModelResult) -> Iterator[Markup]:
    plot = agreement_plot(model)
    if plot:
        note = tag("p", AGREEMENT_NOTE, class_="quiet note")
        yield from section(
            "Predicted against actual", join(plot, note),
            keys(("even-key", "predicted = actual"), ("line-key", fit_text(model)),
                 ("ellipse-key", "1 and 2 standard deviations"), ("best", "means")),
        )  # fmt: skip


def fit_text(model: ModelResult) -> str:
    """The line of best fit as a formula."""
    if model.slope is None or model.intercept is None:
        return "best fit: undefined"
    sign = "\u2212" if model.intercept < 0 else "+"
    slope = f"{model.slope:.3f}".replace("-", "\u2212")
    return f"best fit: actual = {slope} \u00b7 predicted {sign} {amount(abs(model.intercept))}"


def number_panels(model: ModelResult) -> Iterator[Markup]:
    """The histogram of errors, and the scores of numbers with the quantiles of the error."""
    quantiles = [
        (f"{percent(float(rank), 0)} of the items", amount(value))
        for rank, value in model.absolute_error_quantiles.items()
    ]
    yield tag(
        "div",
        *_agreement(model),
        tag("section", tag("h3", "Scores of the numbers"), _pairs(_number_scores(model))),
        tag("section", tag("h3", "Absolute error, at most"), _pairs(quantiles)),
        *section("Absolute errors: share of the items", error_histogram(model)),
        class_="beside wide",
    )


def custom_panels(model: ModelResult) -> Iterator[Markup]:
    """The scores of each custom statistic, and on how many items it failed."""
    failed = model.custom_failed
    tables: dict[str, list[tuple[str, str]]] = {}
    for name in (*model.custom, *(name for name in failed if name not in model.custom)):
        own = model.custom.get(name, {})
        rows = [(printable(score, 40), amount(each)) for score, each in own.items()]
        rows = rows or [("no scores", "")]
        if name in failed:
            rows.append(("failed on items", f"{failed[name]:,}"))
        tables[printable(name, 80)] = rows
    if tables:
        sections = [tag("section", tag("h3", name), _pairs(rows)) for name, rows in tables.items()]
        yield tag("div", *sections, class_="beside wide")


def _scores(model: ModelResult) -> Iterator[tuple[str, str]]:
    yield "Calibration error (ECE)", score_text(model.calibration_error)
    if model.brier_score is not None:
        yield "Brier score", score_text(model.brier_score)
        yield "log loss", score_text(model.log_loss)
        yield "mean reciprocal rank", score_text(model.reciprocal_rank)
    if model.roc_auc is not None:
        yield (
            "ROC AUC",
            f"{score_text(model.roc_auc)} \u00b1 {score_text(model.roc_auc_error_bound)}",
        )
        yield "average precision", score_text(model.average_precision)
    for k, share in model.top_k_accuracy.items():
        yield f"right label among the first {k}", percent(share)


def _number_scores(model: ModelResult) -> Iterator[tuple[str, str]]:
    yield "R\u00b2", score_text(model.r2)
    yield "correlation", score_text(model.correlation)
    yield "slope of the best fit", score_text(model.slope)
    yield "MAPE", percent(model.mape)
    yield "WAPE", percent(model.wape)
    if model.within_tolerance is not None:
        yield "within the tolerance", percent(model.within_tolerance)
    for name, mean, deviation in (
        ("predicted", model.mean_predicted, model.deviation_predicted),
        ("actual", model.mean_actual, model.deviation_actual),
    ):
        yield f"mean {name}", amount(mean)
        yield f"standard deviation, {name}", amount(deviation)


def _thresholds(model: ModelResult) -> Markup:
    names = ("threshold", "precision", "recall", "F1", "")
    rows = []
    for shown in shown_thresholds(model):
        one = shown.scores
        remark = ", ".join(
            text for text, is_so in (("current", shown.current), ("best F1", shown.best)) if is_so
        )
        values = (one.precision, one.recall, one.f1)
        rows.append(
            tag("tr", tag("th", f"{one.threshold:.3f}", scope="row"),
                *(tag("td", score_text(value)) for value in values), tag("td", remark, class_="remark"),
                class_="strong-row" if remark else None)
        )  # fmt: skip
    head = tag("tr", *(tag("th", name, scope="col") if name else tag("td") for name in names))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="thresholds")
    return tag("div", table, class_="scroll")


def _pairs(pairs: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> Markup:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in pairs]
    return tag("table", tag("tbody", *rows), class_="pairs")


def keys(*pairs: tuple[str, str]) -> Markup:
    """The legend of a plot: a style and a name each."""
    return tag("div", *(tag("span", tag("i", class_=f"key {style}"), name) for style, name in pairs),
               class_="keys")  # fmt: skip
