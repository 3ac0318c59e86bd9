"""Plots of probabilities and of errors: reliability, ROC, precision and recall, histogram of errors."""

from collections.abc import Callable, Iterator, Sequence
from math import sqrt

from processor.domain.results import ModelResult, ThresholdResult
from processor.publish.panels import USUAL_THRESHOLD, at_threshold, error_bars
from processor.report.formats.markup import Markup, join, tag
from processor.report.formats.plots import amount, percent, short_amount

#: Size and margins of a square plot in units of its view box, about a pixel each.
_SIDE, _LEFT, _TOP, _BOTTOM, _RIGHT = 260, 54, 12, 44, 12
_WIDTH, _HEIGHT = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
#: The radius of the largest mark of a reliability diagram, and of the least.
_LARGEST, _LEAST = 13.0, 2.5
#: Size of the plot of errors.
_LONG, _HIGH = 460, 230
#: The width of a text of the axis of errors.
_TEXT = 48

#: The place of a threshold in a plot, from 0 to 1.
Place = Callable[[ThresholdResult], tuple[float | None, float | None]]


def reliability_plot(model: ModelResult) -> Markup:
    """Plot the share of right items over their mean probability, one mark for each bin of
    probabilities; the area of a mark is by its items. Empty without probabilities."""
    if not model.calibration:
        return Markup()
    most = max(each.items for each in model.calibration)
    marks = []
    for each in sorted(model.calibration, key=lambda one: -one.items):
        share = each.right / each.items
        hint = (
            f"probability {percent(each.low)} to {percent(each.high)}, mean "
            f"{percent(each.mean_probability)}: {percent(share)} right, {each.right:,} of "
            f"{each.items:,}"
        )
        radius = max(_LEAST, _LARGEST * sqrt(each.items / most))
        marks.append(
            tag("circle", tag("title", hint), class_="bubble", cx=_x(each.mean_probability),
                cy=_y(share), r=radius)
        )  # fmt: skip
    line = tag("line", class_="even", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1))
    return _square("Reliability", "probability of the predicted label", "right", line, *marks)


def roc_plot(model: ModelResult) -> Markup:
    """Plot the recall over the false positive rate at each threshold; empty without a curve."""
    points = [
        (each.false_positive_rate, each.recall)
        for each in model.thresholds
        if each.false_positive_rate is not None and each.recall is not None
    ]
    if not points:
        return Markup()
    points.append((0.0, 0.0))
    even = tag("line", class_="even", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1))
    marks = _marked(model, lambda one: (one.false_positive_rate, one.recall))
    return _square("ROC curve", "false positive rate", "recall", even, _line(points), *marks)


def precision_recall_plot(model: ModelResult) -> Markup:
    """Plot the precision over the recall at each threshold; empty without a curve."""
    points = [
        (each.recall, each.precision)
        for each in model.thresholds
        if each.recall is not None and each.precision is not None
    ]
    if not points:
        return Markup()
    marks = _marked(model, lambda one: (one.recall, one.precision))
    # At the highest threshold the precision is as good as known; the recall goes on to 0.
    points.append((0.0, points[-1][1]))
    return _square("Precision and recall", "recall", "precision", _line(points), *marks)


def error_histogram(model: ModelResult) -> Markup:
    """Plot the numbers of items by absolute error; empty without numbers."""
    bars = error_bars(model)
    if not bars:
        return Markup()
    most, total = max(each.items for each in bars), sum(each.items for each in bars)
    slot = (_LONG - _LEFT - _RIGHT) / len(bars)
    width = min(slot * 0.86, 60)
    floor_ = _HIGH - _BOTTOM
    found: list[Markup] = []
    free = 0.0
    for i, each in enumerate(bars):
        height = (floor_ - _TOP) * each.items / most
        x = _LEFT + slot * (i + 0.5)
        hint = f"up to {amount(each.up_to)}: {each.items:,}, {percent(each.items / total)}"
        found.append(
            tag("rect", tag("title", hint), class_="part", x=x - width / 2, y=floor_ - height,
                width=width, height=height)
        )  # fmt: skip
        if x - _TEXT / 2 >= free and x + _TEXT / 2 - _RIGHT <= _LONG:
            name = short_amount(each.up_to)
            found.append(tag("text", name, class_="tick", x=x, y=floor_ + 16, text_anchor="middle"))
            free = x + _TEXT / 2
    grid = [
        join(
            tag("line", class_="grid", x1=_LEFT, x2=_LONG - _RIGHT, y1=y, y2=y),
            tag("text", percent(part * most / total), x=_LEFT - 6, y=y + 4, text_anchor="end"),
        )
        for part in (0, 0.5, 1)
        for y in (floor_ - part * (floor_ - _TOP),)
    ]
    name = tag("text", "absolute error up to", x=(_LEFT + _LONG) / 2, y=_HIGH - 6,
               text_anchor="middle")  # fmt: skip
    return tag("svg", *grid, *found, name, class_="plot", viewBox=f"0 0 {_LONG} {_HIGH}", role="img",
               aria_label="Histogram of absolute errors")  # fmt: skip


def _marked(model: ModelResult, place: Place) -> Iterator[Markup]:
    """Marks at the threshold 0.5 and at that of the best F1."""
    usual = at_threshold(model, USUAL_THRESHOLD)
    best = next((each for each in model.thresholds if each.threshold == model.best_threshold), None)
    for one, style, name in ((best, "best", "best F1"), (usual, "usual", "threshold 0.5")):
        x, y = (None, None) if one is None else place(one)
        if one is not None and x is not None and y is not None:
            hint = f"{name}: threshold {one.threshold:.3f}, ({x:.3f}, {y:.3f})"
            yield tag("circle", tag("title", hint), class_=style, cx=_x(x), cy=_y(y), r=5.5)


def _line(points: Sequence[tuple[float, float]]) -> Markup:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return tag("polyline", class_="line", points=path)


def _square(title: str, across: str, up: str, *parts: Markup) -> Markup:
    grid = []
    for i in range(5):
        x, y, text = _x(i / 4), _y(i / 4), f"{i / 4:g}"
        grid.append(tag("line", class_="grid", x1=_x(0), x2=_x(1), y1=y, y2=y))
        grid.append(tag("line", class_="grid", x1=x, x2=x, y1=_y(0), y2=_y(1)))
        grid.append(tag("text", text, x=_LEFT - 6, y=y + 4, text_anchor="end"))
        grid.append(tag("text", text, class_="tick", x=x, y=_y(0) + 16, text_anchor="middle"))
    middle = _TOP + _SIDE / 2
    names = (
        tag("text", across, x=_LEFT + _SIDE / 2, y=_HEIGHT - 8, text_anchor="middle"),
        tag(
            "text", up, x=16, y=middle, text_anchor="middle", transform=f"rotate(-90 16 {middle:g})"
        ),
    )
    return tag("svg", *grid, *names, *parts, class_="plot square", role="img", aria_label=title,
               viewBox=f"0 0 {_WIDTH} {_HEIGHT}")  # fmt: skip


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE
