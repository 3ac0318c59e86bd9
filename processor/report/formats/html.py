"""Render a report as one HTML file without scripts and external resources; every name is escaped."""

from collections.abc import Iterator
from importlib.resources import files

import msgspec

from processor.domain.results import Events, ModelResult
from processor.domain.timestamps import parse_time
from processor.publish.panels import Parts, parts_of
from processor.publish.terms import terms_of
from processor.report.compare import Comparison, Comparisons, model_key, period_title
from processor.report.data import Report
from processor.report.formats.markup import Markup, join, tag
from processor.report.formats.model_card import MAX_NAME, label_of, model_card
from processor.report.formats.plots import DASH, amount, percent, score_text
from processor.report.formats.text import compared, not_compared, printable, significance


def render_html(report: Report) -> Iterator[str]:
    """The page of a report, in pieces of HTML."""
    replay = report.replay
    times = (parse_time(t) if t is not None else None for t in (replay.from_, replay.to))
    period = period_title(*times)
    yield from page(
        [
            heading(
                "Model quality", period[0].upper() + period[1:], f"by time of {replay.by}, UTC"
            ),
            *([_overview(replay.models)] if len(replay.models) > 1 else []),
            *(_comparisons(report.comparisons) if report.comparisons is not None else ()),
        ],
        (
            model_card(model, report.timeline(model), f"m{i}", report.late_labels(model))
            for i, model in enumerate(replay.models, 1)
        ),
        join(_meanings(replay.models), _foot(replay.events))
        if replay.models
        else _nothing(replay.events),
    )


def render_comparisons(comparisons: Comparisons) -> Iterator[str]:
    """A page with nothing but comparisons, in pieces of HTML."""
    return page([heading("Comparison")], _comparisons(comparisons), Markup())


def page(head: list[Markup], cards: Iterator[Markup], foot: Markup) -> Iterator[str]:
    """A page with its style sheet around ``head``, ``cards`` and ``foot``, in pieces of HTML."""
    folder = files("processor.report.formats")
    html = (folder / "page.html").read_text(encoding="utf-8")
    before, after = html.split("{{body}}")
    yield before.replace("{{style}}", (folder / "page.css").read_text(encoding="utf-8"))
    yield from head
    yield from cards
    yield foot
    yield after


def _overview(models: tuple[ModelResult, ...]) -> Markup:
    kinds = [parts_of(model) for model in models]
    mixed = not all(parts.labels for parts in kinds)
    names = ("model", "score" if mixed else "accuracy", "95\u202f% from", "to", "judged", "coverage",
             "macro F1")  # fmt: skip
    rows = [
        tag("tr",
            tag("th", tag("a", " / ".join(
                printable(name, MAX_NAME)
                for name in model_key(model)
            ), href=f"#m{i}"), scope="row"),
            *_main_score(model, parts, mixed),
            *(tag("td", text) for text in (
                f"{model.judged:,}", percent(model.coverage), score_text(model.macro.f1),
            )))
        for i, (model, parts) in enumerate(zip(models, kinds, strict=True), 1)
    ]  # fmt: skip
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    body = tag("table", head, tag("tbody", *rows), class_="overview")
    return tag("section", tag("div", body, class_="scroll"), class_="card")


def _main_score(model: ModelResult, parts: Parts, named: bool) -> Iterator[Markup]:
    """The score that a model's task is judged by, and its interval."""
    if parts.numbers and not (parts.labels or parts.sets):
        name = "MAE"
        values = [amount(each) for each in (model.mae, model.mae_low, model.mae_high)]
    else:
        name = "accuracy" if parts.labels else "exact match"
        low, high = model.accuracy_low, model.accuracy_high
        values = [percent(each) for each in (model.accuracy, low, high)]
    yield tag("td", *([tag("small", f"{name} ")] if named else []), values[0])
    yield from (tag("td", value) for value in values[1:])


def _comparisons(comparisons: Comparisons) -> Iterator[Markup]:
    for comparison in comparisons.comparisons:
        yield _comparison(comparison)
    for line in not_compared(comparisons):
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
    ]
    labelled = comparison.difference is not None or not comparison.differences
    rows += [
        ("accuracy", [percent(side.result.accuracy) for side in sides]),
        ("95\u202f% interval", [
            f"{percent(side.result.accuracy_low)} to {percent(side.result.accuracy_high)}"
            for side in sides
        ]),
        ("macro precision", [score_text(side.result.macro.precision) for side in sides]),
        ("macro recall", [score_text(side.result.macro.recall) for side in sides]),
        ("macro F1", [score_text(side.result.macro.f1) for side in sides]),
        ("Matthews' correlation", [score_text(side.result.mcc) for side in sides]),
    ] if labelled else []  # fmt: skip
    rows += [(row_name, [*values]) for row_name, *values in compared(comparison)]
    table = tag(
        "table",
        tag("thead", tag("tr", tag("th"), *(
            tag("th", label_of(side.title), scope="col") for side in sides
        ), *([tag("th", "difference", scope="col")] if comparison.differences else []))),
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
            tag("span", " / ".join(printable(each, MAX_NAME) for each in name), class_="quiet")),
        tag("div", table, class_="scroll"),
        tag("ul", difference, *(tests or [tag("li", "no test applies")]), class_="tests"),
        class_="card",
    )  # fmt: skip


def heading(title: str, *notes: str) -> Markup:
    """The head of a page: a title and notes below it."""
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


def _meanings(models: tuple[ModelResult, ...]) -> Markup:
    """The meanings of the scores that the models have."""
    terms = dict(term for model in models for term in terms_of(parts_of(model)))
    pairs = (each for name, text in terms.items() for each in (tag("dt", name), tag("dd", text)))
    return tag(
        "details", tag("summary", "What the scores mean"), tag("dl", *pairs), class_="card meanings"
    )


def _nothing(events: Events) -> Markup:
    text = "No predictions here: widen the time, or leave out the names that were asked for."
    return join(tag("section", tag("h2", "Nothing to show"), tag("p", text), class_="card"),
                _foot(events))  # fmt: skip


def _count(n: int | None) -> str:
    return DASH if n is None else f"{n:,}"
