"""The card of one model in the HTML report: figures, plots and tables, as its task has them."""

from collections.abc import Callable, Iterator

from processor.domain.results import ClassResult, MeanResult, ModelResult
from processor.domain.tally.late_days import LateDays
from processor.publish.panels import Parts, decided_items, parts_of
from processor.report.data import ModelTimeline
from processor.report.formats.csv_rows import SCORES
from processor.report.formats.late_labels import drift_sentence, hindcast_rows, sentences
from processor.report.formats.late_plots import late_panels
from processor.report.formats.markup import Markup, join, tag
from processor.report.formats.matrix import matrix, natural
from processor.report.formats.plots import (
    DASH,
    accuracy_plot,
    amount,
    coverage_plot,
    delay_plot,
    duration,
    error_plot,
    means_plot,
    percent,
    pie,
    score_text,
)
from processor.report.formats.text import printable
from processor.report.formats.value_panels import (
    custom_panels,
    keys,
    number_panels,
    probability_panels,
    section,
)

#: Maximum number of classes in a matrix, and the number from which on its cells are small.
_MAX_CLASSES, _DENSE = 40, 13
#: Maximum number of classes in the table of scores.
_MAX_ROWS = 100
#: Maximum length of a name.
MAX_NAME = 80
_NO_LATE_DAYS = LateDays()


def model_card(
    model: ModelResult, timeline: ModelTimeline, anchor: str, late: LateDays = _NO_LATE_DAYS
) -> Markup:
    """The card of one model: figures, plots, confusion matrix and scores. ``anchor`` is its id."""
    where = " / ".join(
        printable(name, MAX_NAME)
        for name in (model.namespace, model.predictor, model.model)
        if name
    )
    parts = parts_of(model)
    warning = Markup()
    if model.unknown_actual:
        warning = tag(
            "p",
            f"{_items(model.unknown_actual)} judged wrong with an unknown actual label: they count "
            "in accuracy but in no class, so the matrix and the scores by class look better than "
            "the model is.",
            class_="warning",
        )
    return tag(
        "article",
        tag("header", tag("h2", _name(model.deployment)), tag("span", where, class_="quiet")),
        warning,
        _figures(model, parts),
        tag("div", *_panels(model, timeline, parts, late), class_="panels"),
        class_="card",
        id=anchor,
    )


def _panels(
    model: ModelResult, timeline: ModelTimeline, parts: Parts, late: LateDays
) -> Iterator[Markup]:
    decided = decided_items(model)
    pies = join(
        pie("Judged items", [("right", "correct", model.correct),
                             ("wrong", "incorrect", decided - model.correct)]),
        pie("Predicted items", [("right", "feedback", model.judged),
                                ("none", "no feedback", model.predictions - model.judged)])
        if model.predictions is not None else Markup(),
    )  # fmt: skip
    if pies:
        titles = ["Right and wrong"] if decided else []
        if model.predictions is not None:
            titles.append("with and without feedback")
        title = "; ".join(titles)
        yield tag("section", tag("h3", title[0].upper() + title[1:]),
                  tag("div", pies, class_="pies"))  # fmt: skip
    yield from section("Feedback delay: feedbacks by the time they took", delay_plot(timeline))
    length = duration(timeline.length)
    yield from section(
        f"Mean absolute error over time, in its 95\u202f% interval; points of {length}",
        error_plot(timeline),
    )
    yield from section(
        f"Mean predicted and mean actual over time; points of {length}",
        means_plot(timeline),
        keys(("line-key", "mean predicted"), ("actual-key", "mean actual")),
    )
    name = "Exact match" if parts.sets and not parts.labels else "Accuracy"
    if parts.numbers and not parts.labels:
        name = "Share within the tolerance"
    yield from section(
        f"{name} over time, in its 95\u202f% Wilson interval; points of {length}",
        accuracy_plot(timeline, name),
    )
    by_request = model.predictions is not None
    kinds = [("part", "judged"), *([("all", "predicted, without feedback")] if by_request else [])]
    yield from section(
        f"Coverage over time: items in {length}" if by_request else f"Judged items in {length}",
        coverage_plot(timeline, by_request),
        keys(*kinds),
    )  # fmt: skip
    if parts.probabilities:
        yield from probability_panels(model)
    if parts.numbers:
        yield from number_panels(model)
    yield from custom_panels(model)
    yield from _late_labels(model)
    yield from late_panels(late)
    if model.classes:
        tables = [tag("section", *_matrix(model))] if model.confusion else []
        yield tag("div", *tables, tag("section", *_scores(model)), class_="tables wide")
    elif not model.judged:
        yield tag("p", "No feedback counts here: a score needs a feedback with the request id of a "
                  "prediction.", class_="quiet wide")  # fmt: skip


def _late_labels(model: ModelResult) -> Iterator[Markup]:
    """The nowcast and the drift in words, and a table of how right the nowcast would have been."""
    if model.nowcast is None:
        return
    said = [*sentences(model), drift_sentence(model) or ""]
    parts = [tag("p", sentence[0].upper() + sentence[1:] + ".") for sentence in said if sentence]
    if rows := hindcast_rows(model):
        head, *body = rows
        parts.append(
            tag("div", tag("table",
                tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))),
                tag("tbody", *(
                    tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))
                    for name, *cells in body
                )), class_="scores"), class_="scroll")
        )  # fmt: skip
    yield tag("section", tag("h3", "While labels are late"), *parts, class_="wide")


def _figures(model: ModelResult, parts: Parts) -> Markup:
    figures = [*_main_figures(model, parts)]
    if model.predictions is not None:
        figures.append(
            _figure("Coverage", percent(model.coverage),
                    f"{model.judged:,} judged of {model.predictions:,} predicted")
        )  # fmt: skip
    if model.rewards:
        figures.append(
            _figure("Mean reward", score_text(model.reward_mean), f"of {model.rewards:,}",
                    f"{model.disagreements:,} disagree with the truth")
        )  # fmt: skip
    if parts.labels:
        figures.append(_figure("Macro F1", score_text(model.macro.f1)))
        figures.append(_figure("Matthews' correlation", score_text(model.mcc)))
        figures.append(_figure("Cohen's kappa", score_text(model.kappa)))
    if parts.sets:
        figures.append(_figure("Jaccard index", score_text(model.jaccard)))
        figures.append(_figure("Hamming loss", score_text(model.hamming_loss)))
        if not parts.labels:
            figures.append(_figure("Macro F1", score_text(model.macro.f1)))
    if parts.probabilities and model.roc_auc is not None:
        figures.append(
            _figure(
                "ROC AUC",
                score_text(model.roc_auc),
                f"\u00b1 {score_text(model.roc_auc_error_bound)}",
            )
        )
    if parts.probabilities and model.brier_score is not None:
        figures.append(_figure("Brier score", score_text(model.brier_score)))
    return tag("div", *figures, class_="figures")


def _main_figures(model: ModelResult, parts: Parts) -> Iterator[Markup]:
    """The score that the model's task is judged by; with rows of several kinds, one for each."""
    interval = _interval(percent, model.accuracy_low, model.accuracy_high)
    if parts.numbers:
        yield _figure("Mean absolute error", amount(model.mae),
                      *_interval(amount, model.mae_low, model.mae_high),
                      f"{model.measured:,} judged as numbers")  # fmt: skip
        yield _figure("RMSE", amount(model.rmse))
        yield _figure("Bias", amount(model.bias), "predicted minus actual")
        yield _figure("R\u00b2", DASH if model.r2 is None else f"{model.r2:.3f}")
    if parts.sets and not parts.labels:
        yield _figure("Exact match", percent(model.exact_match), *interval,
                      f"{model.correct:,} correct of {decided_items(model):,} judged")  # fmt: skip
    elif parts.labels or parts.sets:
        yield _figure("Accuracy", percent(model.accuracy), *interval,
                      f"{model.correct:,} correct of {decided_items(model):,} judged")  # fmt: skip
    elif model.within_tolerance is not None:
        yield _figure("Within the tolerance", percent(model.within_tolerance), *interval)


def _interval(
    text: Callable[[float | None], str], low: float | None, high: float | None
) -> tuple[str, ...]:
    """The 95 % interval of a score as a note; none where it is not defined."""
    if low is None or high is None:
        return ()
    return (f"{text(low)} to {text(high)} (95\u202f%)",)


def _figure(title: str, value: str, *notes: str) -> Markup:
    return tag("div", tag("h3", title), tag("b", value), *(tag("small", note) for note in notes))


def _matrix(model: ModelResult) -> Iterator[Markup]:
    shown = matrix(model, _MAX_CLASSES)
    yield tag("h3", "Confusion matrix: items, share of the row")
    head = tag("tr", tag("th", "actual ↓ predicted →", scope="col"),
               *(tag("th", label_of(label), scope="col") for label in shown.labels))  # fmt: skip
    rows = []
    for i, (label, counts) in enumerate(zip(shown.labels, shown.counts, strict=True)):
        total = sum(counts)
        cells = [_cell(n, total, i == j) for j, n in enumerate(counts)]
        rows.append(tag("tr", tag("th", label_of(label), scope="row"), *cells))
    dense = " dense" if len(shown.labels) >= _DENSE else ""
    body = tag("table", tag("thead", head), tag("tbody", *rows), class_=f"matrix{dense}")
    yield tag("div", body, class_="scroll")
    if shown.hidden:
        yield tag("p", f"“other” sums the {shown.hidden:,} smaller classes.", class_="quiet")


def _cell(n: int, total: int, hit: bool) -> Markup:
    share = n / total if total else 0.0
    classes = ["hit" if hit else "miss"]
    classes += ["zero"] if not n else ["strong"] if share > 0.65 else []
    return tag("td", tag("b", f"{n:,}"), tag("small", percent(share, 0)),
               class_=" ".join(classes), style=f"--share:{8 + 92 * share if n else 0:.0f}%")  # fmt: skip


def _scores(model: ModelResult) -> Iterator[Markup]:
    kind = "class" if model.confusion else "label"
    yield tag("h3", f"Scores by {kind}, one against the rest")
    areas = any(each.roc_auc is not None for each in model.classes.values())
    names = [kind, "precision", "recall", "specificity", "F1", "support"]
    names += ["ROC AUC", "average precision"] if areas else []
    largest = sorted(model.classes, key=lambda label: -model.classes[label].support)[:_MAX_ROWS]
    body = [
        tag("tr", tag("th", label_of(label), scope="row"),
            *(_bar(getattr(model.classes[label], score)) for score in SCORES),
            tag("td", f"{model.classes[label].support:,}"),
            *_areas(model.classes[label], areas))
        for label in sorted(largest, key=natural)
    ]  # fmt: skip
    means: list[tuple[str, MeanResult]] = [
        ("macro mean", model.macro), ("weighted mean", model.weighted), ("micro", model.micro),
    ]  # fmt: skip
    foot = [
        tag("tr", tag("th", name, scope="row"), *(_bar(getattr(mean, each)) for each in SCORES),
            *[tag("td")] * (len(names) - 1 - len(SCORES)))
        for name, mean in means
    ]  # fmt: skip
    yield tag(
        "div",
        tag("table", tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names))),
            tag("tbody", *body), tag("tfoot", *foot), class_="scores"),
        class_="scroll",
    )  # fmt: skip
    if len(model.classes) > len(largest):
        hidden = len(model.classes) - len(largest)
        yield tag("p", f"And {hidden:,} smaller classes: see JSON or CSV.", class_="quiet")


def _areas(scores: ClassResult, shown: bool) -> list[Markup]:
    return [
        tag("td", score_text(each)) for each in (scores.roc_auc, scores.average_precision) if shown
    ]


def _bar(value: float | None) -> Markup:
    if value is None:
        return tag("td", DASH)
    return tag(
        "td", score_text(value), tag("span", class_="bar", style=f"--share:{100 * value:.1f}%")
    )


def _name(name: str) -> str:
    return printable(name, MAX_NAME) if name else "(no name)"


def label_of(label: str) -> Markup:
    """A class label as text, cut where it is long."""
    return tag("span", printable(label, 40), class_="label", title=printable(label, 1000))


def _items(n: int) -> str:
    return f"{n:,} item" + ("" if n == 1 else "s")
