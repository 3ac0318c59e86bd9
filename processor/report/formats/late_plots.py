"""Plots of late labels: accuracy, or the error of numbers, by day in three ways, the reporting triangle,
and delays by outcome."""

from collections.abc import Callable, Iterator

from processor.domain.statistics.delays import ENDS, UNKNOWN
from processor.domain.tally.late_days import AGES, LateDay, LateDays, OutcomeDelays
from processor.domain.tally.windows import DAY
from processor.report.formats.markup import Markup, tag
from processor.report.formats.plots import (
    amount,
    duration,
    frame,
    grid,
    height_of,
    moment,
    percent,
    place,
    tick,
)
from processor.report.formats.text import printable
from processor.report.formats.value_panels import keys, section

#: The keys of the delays by outcome: of labels, and of numbers.
_OUTCOME_KEYS = (
    (("line-key", "right"), ("actual-key", "wrong")),
    (("line-key", "smaller errors"), ("actual-key", "larger errors")),
)
#: A day of which a smaller share of the labels is due is shaded.
_COMPLETE = 0.95


def late_panels(late: LateDays) -> Iterator[Markup]:
    """The plots of a model; none without data."""
    if len(late.days) > 1:
        name = "Mean absolute error" if late.of_numbers else "Accuracy"
        yield from section(
            f"{name} by day: by request so far, by feedback, and the nowcast in its 95\u202f% "
            "interval; grey where labels are missing",
            _by_day(late),
            keys(("line-key", "nowcast"), ("actual-key", "by request so far"),
                 ("even-key", "by feedback")),
        )  # fmt: skip
        yield from section("Share of the expected labels that are in, by age", _triangle(late.days))
    yield from section(
        "Share of the labels that are in, by age and outcome",
        _outcomes(late),
        keys(*_OUTCOME_KEYS[late.of_numbers]),
    )


def _by_day(late: LateDays) -> Markup:
    days = late.days
    first = days[0].start
    top, text = _scale(late)
    slots = (days[-1].start - first) // DAY + 1

    def middle(day: LateDay) -> float:
        return place(((day.start - first) / DAY + 0.5) / slots)

    width = place(0.8 / slots) - place(0)
    shades, bands, hints = [], [], []
    for day in days:
        x = middle(day) - width / 2
        if day.due < _COMPLETE:
            shades.append(tag("rect", class_="missing", x=x, y=height_of(1), width=width,
                              height=height_of(0) - height_of(1)))  # fmt: skip
        if day.nowcast is not None:
            value, low, high = (each / top for each in day.nowcast)
            words = [text(each) for each in day.nowcast]
            hint = f"nowcast {words[0]} ({words[1]} to {words[2]})"
            hint += f", {day.judged:,} judged of {day.predicted:,}"
            title = tag("title", f"{moment(day.start, DAY)}: {hint}")
            bands.append(tag("rect", title, class_="band", x=x, y=height_of(high), width=width,
                             height=max(1.0, height_of(low) - height_of(high)), rx=2))  # fmt: skip
            hints.append(
                tag("circle", title, class_="dot", cx=middle(day), cy=height_of(value), r=3)
            )
    values: list[tuple[str, Callable[[LateDay], float | None]]] = [
        ("even", lambda day: day.by_feedback),
        ("actual-line", lambda day: day.so_far),
        ("line", lambda day: day.nowcast and day.nowcast[0]),
    ]
    lines = []
    for style, of_day in values:
        points = [(middle(day), found) for day in days if (found := of_day(day)) is not None]
        drawn = " ".join(f"{x:.1f},{height_of(y / top):.1f}" for x, y in points)
        lines.append(tag("polyline", class_=style, points=drawn, fill="none"))
    stride = -(-slots // 4)
    ticks = [tick(middle(day), moment(day.start, DAY)) for day in days[::stride]]
    marks = grid([(each / 4, text(top * each / 4)) for each in range(5)])
    return frame(
        "Error by day" if late.of_numbers else "Accuracy by day",
        *shades,
        marks,
        *ticks,
        *bands,
        *lines,
        *hints,
    )


def _scale(late: LateDays) -> tuple[float, Callable[[float], str]]:
    """Return the value at the top of the plot by day, and the text of a value."""
    if not late.of_numbers:
        return 1.0, lambda value: percent(value, 0 if value in (0, 0.25, 0.5, 0.75, 1) else 1)
    values = [
        value
        for day in late.days
        for value in (day.so_far, day.by_feedback, *(day.nowcast or ()))
        if value is not None
    ]
    return 1.05 * max(values, default=1.0) or 1.0, amount


def _triangle(days: tuple[LateDay, ...]) -> Markup:
    names = [tag("th", duration(age), scope="col") for age in AGES]
    rows = [
        tag("tr", tag("th", moment(day.start, DAY), scope="row"), *map(_cell, day.shares))
        for day in days
        if any(share is not None for share in day.shares)
    ]
    if not rows:
        return Markup()
    head = tag("thead", tag("tr", tag("th", "day", scope="col"), *names))
    return tag(
        "div", tag("table", head, tag("tbody", *rows), class_="matrix dense"), class_="scroll"
    )


def _cell(share: float | None) -> Markup:
    if share is None:
        return tag("td")
    strong = " strong" if share > 0.65 else ""
    return tag(
        "td", percent(share, 0), class_=f"hit{strong}", style=f"--share:{8 + 92 * share:.0f}%"
    )


def _outcomes(late: LateDays) -> Markup:
    outcomes = late.outcomes
    if not outcomes:
        return Markup()
    last = next((i for i in range(len(ENDS)) if all(each.shares[i] >= 0.999 for each in outcomes)),
                len(ENDS) - 1)  # fmt: skip
    lines = []
    sizes = sorted(each.largest or 0.0 for each in outcomes)
    median = sizes[len(sizes) // 2] if late.of_numbers else None
    for each in outcomes:
        name, is_good = _outcome(each, median)
        hint = tag("title", f"{name}: {each.items:,} labels")
        points = " ".join(
            f"{place(i / max(1, last)):.1f},{height_of(share):.1f}"
            for i, share in enumerate(each.shares[: last + 1])
        )
        lines.append(
            tag("polyline", hint, class_="line" if is_good else "actual-line", points=points)
        )
    ticks = [tick(place(i / max(1, last)), duration(ENDS[i])) for i in range(1, last, 4)]
    marks = grid([(each / 4, f"{25 * each}\u202f%") for each in range(5)])
    return frame("Delays of labels by outcome", marks, *ticks, *lines)


def _outcome(each: OutcomeDelays, median: float | None) -> tuple[str, bool]:
    """Return the name of an outcome, and whether it is right, or an error below the ``median`` one."""
    if median is not None:
        error = each.largest or 0.0
        return f"errors up to {amount(error)}", error < median
    actual, predicted = (
        "unknown" if label == UNKNOWN else printable(label, 40) for label in each.cell
    )
    return f"actual {actual}, predicted {predicted}", each.cell.actual == each.cell.predicted
