"""A report as one HTML file: no script, nothing loaded, every name escaped."""

from collections.abc import Iterator
from importlib.resources import files

import msgspec

from processor.domain.results import Events, MeanResult, ModelResult
from processor.domain.timestamps import parse_time
from processor.report.compare import Comparison, Comparisons, period_title
from processor.report.data import ModelTimeline, Report
from processor.report.markup import Markup, join, tag
from processor.report.matrix import matrix, natural
from processor.report.plots import (
    DASH,
    accuracy_plot,
    coverage_plot,
    delay_plot,
    duration,
    percent,
    pie,
)
from processor.report.text import not_compared, printable, significance

#: Classes of a matrix, and from how many on its cells are small.
_CLASSES, _DENSE = 40, 13
#: Classes with scores of their own in the table.
_ROWS = 100
_LABEL = 80
_SCORES = ("precision", "recall", "specificity", "f1")


def render_html(report: Report) -> Iterator[str]:
    """The page, in pieces."""
    replay = report.replay
    times = (parse_time(t) if t is not None else None for t in (replay.from_, replay.to))
    period = period_title(*times)
    yield from page(
        [
            heading(
                "Model quality", period[0].upper() + period[1:], f"by time of {replay.by}, UTC"
            ),
            *([_overview(replay.models)] if len(replay.models) > 1 else []),
            *(_comparisons(report.compared) if report.compared is not None else ()),
        ],
        (
            model_card(model, report.course(model), f"m{i}")
            for i, model in enumerate(replay.models, 1)
        ),
        _foot(replay.events) if replay.models else _nothing(replay.events),
    )


def render_comparisons(compared: Comparisons) -> Iterator[str]:
    """A page with comparisons alone, in pieces."""
    return page([heading("Comparison")], _comparisons(compared), Markup())


def page(head: list[Markup], cards: Iterator[Markup], foot: Markup) -> Iterator[str]:
    """A page around its cards."""
    folder = files("processor.report")
    html = (folder / "page.html").read_text(encoding="utf-8")
    before, after = html.split("{{body}}")
    yield before.replace("{{style}}", (folder / "page.css").read_text(encoding="utf-8"))
    yield from head
    yield from cards
    yield foot
    yield after


def model_card(model: ModelResult, course: ModelTimeline, anchor: str) -> Markup:
    """Everything of one model."""
    where = " / ".join(
        printable(name, _LABEL) for name in (model.namespace, model.predictor, model.model) if name
    )
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
        _figures(model),
        tag("div", *_panels(model, course), class_="panels"),
        class_="card",
        id=anchor,
    )


def _panels(model: ModelResult, course: ModelTimeline) -> Iterator[Markup]:
    pies = join(
        pie("Judged items", [("right", "correct", model.correct),
                             ("wrong", "incorrect", model.judged - model.correct)]),
        pie("Predicted items", [("right", "feedback", model.judged),
                                ("none", "no feedback", model.predictions - model.judged)])
        if model.predictions is not None else Markup(),
    )  # fmt: skip
    if pies:
        title = "Right and wrong"
        if model.predictions is not None:
            title += "; with and without feedback"
        yield tag("section", tag("h3", title),
                  tag("div", pies, class_="pies"))  # fmt: skip
    yield from _section("Feedback delay: feedbacks by the time they took", delay_plot(course))
    length = duration(course.length)
    yield from _section(
        f"Accuracy over time, in its 95\u202f% Wilson interval; points of {length}",
        accuracy_plot(course),
    )
    by_request = model.predictions is not None
    keys = [("part", "judged"), *([("all", "predicted, without feedback")] if by_request else [])]
    yield from _section(
        f"Coverage over time: items in {length}" if by_request else f"Judged items in {length}",
        coverage_plot(course, by_request),
        tag("div", *(tag("span", tag("i", class_=f"key {style}"), name) for style, name in keys),
            class_="keys"),
    )  # fmt: skip
    if model.confusion:
        tables = tag("section", *_matrix(model)), tag("section", *_scores(model))
        yield tag("div", *tables, class_="tables wide")
    elif not model.judged:
        yield tag("p", "No feedback counts here: a score needs a feedback with the request id of a "
                  "prediction.", class_="quiet wide")  # fmt: skip


def _section(title: str, plot: Markup, *before: Markup) -> Iterator[Markup]:
    if plot:
        yield tag("section", tag("h3", title), *before, plot)


def _figures(model: ModelResult) -> Markup:
    figures = [
        _figure("Accuracy", percent(model.accuracy),
                f"{percent(model.accuracy_low)} to {percent(model.accuracy_high)} (95\u202f%)",
                f"{model.correct:,} correct of {model.judged:,} judged"),
    ]  # fmt: skip
    if model.predictions is not None:
        figures.append(
            _figure("Coverage", percent(model.coverage),
                    f"{model.judged:,} judged of {model.predictions:,} predicted")
        )  # fmt: skip
    if model.rewards:
        figures.append(
            _figure("Mean reward", _score(model.reward_mean), f"of {model.rewards:,}",
                    f"{model.disagreements:,} disagree with the truth")
        )  # fmt: skip
    figures.append(_figure("Macro F1", _score(model.macro.f1)))
    figures.append(_figure("Matthews' correlation", _score(model.mcc)))
    figures.append(_figure("Cohen's kappa", _score(model.kappa)))
    return tag("div", *figures, class_="figures")


def _figure(title: str, value: str, *notes: str) -> Markup:
    return tag("div", tag("h3", title), tag("b", value), *(tag("small", note) for note in notes))


def _matrix(model: ModelResult) -> Iterator[Markup]:
    shown = matrix(model, _CLASSES)
    yield tag("h3", "Confusion matrix: items, share of the row")
    head = tag("tr", tag("th", "actual ↓ predicted →", scope="col"),
               *(tag("th", _label(label), scope="col") for label in shown.labels))  # fmt: skip
    rows = []
    for i, (label, counts) in enumerate(zip(shown.labels, shown.counts, strict=True)):
        total = sum(counts)
        cells = [_cell(n, total, i == j) for j, n in enumerate(counts)]
        rows.append(tag("tr", tag("th", _label(label), scope="row"), *cells))
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
    yield tag("h3", "Scores by class, one against the rest")
    names = ("class", "precision", "recall", "specificity", "F1", "support")
    largest = sorted(model.classes, key=lambda label: -model.classes[label].support)[:_ROWS]
    body = [
        tag("tr", tag("th", _label(label), scope="row"),
            *(_bar(getattr(model.classes[label], score)) for score in _SCORES),
            tag("td", f"{model.classes[label].support:,}"))
        for label in sorted(largest, key=natural)
    ]  # fmt: skip
    means: list[tuple[str, MeanResult]] = [
        ("macro mean", model.macro), ("weighted mean", model.weighted), ("micro", model.micro),
    ]  # fmt: skip
    foot = [
        tag("tr", tag("th", name, scope="row"), *(_bar(getattr(mean, each)) for each in _SCORES),
            tag("td"))
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


def _bar(value: float | None) -> Markup:
    if value is None:
        return tag("td", DASH)
    return tag("td", _score(value), tag("span", class_="bar", style=f"--share:{100 * value:.1f}%"))


def _overview(models: tuple[ModelResult, ...]) -> Markup:
    names = ("model", "accuracy", "95\u202f% from", "to", "judged", "coverage", "macro F1")
    rows = [
        tag("tr",
            tag("th", tag("a", " / ".join(
                printable(name, _LABEL)
                for name in (model.namespace, model.deployment, model.predictor, model.model)
            ), href=f"#m{i}"), scope="row"),
            *(tag("td", text) for text in (
                percent(model.accuracy), percent(model.accuracy_low), percent(model.accuracy_high),
                f"{model.judged:,}", percent(model.coverage), _score(model.macro.f1),
            )))
        for i, model in enumerate(models, 1)
    ]  # fmt: skip
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    body = tag("table", head, tag("tbody", *rows), class_="overview")
    return tag("section", tag("div", body, class_="scroll"), class_="card")


def _comparisons(compared: Comparisons) -> Iterator[Markup]:
    for comparison in compared.comparisons:
        yield _comparison(comparison)
    for line in not_compared(compared):
        yield tag("section", tag("p", line, class_="quiet"), class_="card")


def _comparison(comparison: Comparison) -> Markup:
    sides = (comparison.first, comparison.second)
    one, other = (side.result for side in sides)
    name = [one.namespace, one.deployment]
    if one.predictor == other.predictor:
        name += [one.predictor, one.model]
    rows = [
        ("predicted", [_count(side.result.predictions) for side in sides]),
        ("judged", [f"{side.result.judged:,}" for side in sides]),
        ("coverage", [percent(side.result.coverage) for side in sides]),
        ("accuracy", [percent(side.result.accuracy) for side in sides]),
        ("95\u202f% interval", [
            f"{percent(side.result.accuracy_low)} to {percent(side.result.accuracy_high)}"
            for side in sides
        ]),
        ("macro precision", [_score(side.result.macro.precision) for side in sides]),
        ("macro recall", [_score(side.result.macro.recall) for side in sides]),
        ("macro F1", [_score(side.result.macro.f1) for side in sides]),
        ("Matthews' correlation", [_score(side.result.mcc) for side in sides]),
    ]  # fmt: skip
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th"), *(
            tag("th", _label(side.title), scope="col") for side in sides
        ))),
        tag("tbody", *(
            tag("tr", tag("th", title, scope="row"), *(tag("td", value) for value in values))
            for title, values in rows
        )),
        class_="sides",
    )  # fmt: skip
    tests = [tag("li", significance(test)) for test in comparison.tests]
    difference = Markup()
    if comparison.difference is not None:
        points = f"{100 * comparison.difference:+.1f}"
        difference = tag("li", f"accuracy of the second less the first: {points} percentage points")
    return tag(
        "section",
        tag("header", tag("h2", "Comparison"),
            tag("span", " / ".join(printable(each, _LABEL) for each in name), class_="quiet")),
        tag("div", table, class_="scroll"),
        tag("ul", difference, *(tests or [tag("li", "no test applies")]), class_="tests"),
        class_="card",
    )  # fmt: skip


def heading(title: str, *notes: str) -> Markup:
    """The head of a page."""
    return tag("header", tag("h1", title), *(tag("p", n, class_="quiet") for n in notes))


def _foot(events: Events) -> Markup:
    parts = []
    for name, value in msgspec.structs.asdict(events).items():
        title = name.replace("_", " ")
        if isinstance(value, dict):
            parts += [f"{title} {reason} {n:,}" for reason, n in value.items()]
        elif value or name == "read":
            parts.append(f"{title} {value:,}")
    return tag("footer", tag("p", "Events: " + ", ".join(parts), class_="quiet"), class_="card")


def _nothing(events: Events) -> Markup:
    text = "No predictions here: widen the time, or leave out the names that were asked for."
    return join(tag("section", tag("h2", "Nothing to show"), tag("p", text), class_="card"),
                _foot(events))  # fmt: skip


def _name(name: str) -> str:
    return printable(name, _LABEL) if name else "(no name)"


def _label(label: str) -> Markup:
    return tag("span", printable(label, 40), class_="label", title=printable(label, 1000))


def _items(n: int) -> str:
    return f"{n:,} item" + ("" if n == 1 else "s")


def _count(n: int | None) -> str:
    return DASH if n is None else f"{n:,}"


def _score(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"
