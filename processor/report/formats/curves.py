"""Plots of probabilities and of numbers: reliability, ROC, precision and recall, agreement, errors."""

from collections.abc import Callable, Iterator, Sequence
from math import cos, pi, sin, sqrt

from processor.domain.results import ModelResult, ThresholdResult
from processor.publish.panels import current_threshold, error_bars
from processor.report.formats.axes import padded_axis
from processor.report.formats.markup import Markup, join, tag
from processor.report.formats.plots import amount, percent, short_amount

#: Size and margins of a square plot in units of its view box, about a pixel each.
_SIDE, _LEFT, _TOP, _BOTTOM, _RIGHT = 260, 68, 12, 44, 12
_WIDTH, _HEIGHT = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
#: The radius of the largest mark of a reliability diagram, and of the least.
_LARGEST, _LEAST = 13.0, 2.5
#: Size of the plot of errors.
_LONG, _HIGH = 460, 230
#: The number of sides of the polygon that an ellipse is drawn as.
_SIDES = 72
#: The width of a text of the axis of errors.
_TEXT = 58

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
    return _square("Reliability", "probability of the predicted label", "share right", line, *marks)


def roc_plot(model: ModelResult) -> Markup:
    """Plot the recall over the false positive rate at each threshold; empty without a curve."""
    even = tag("line", class_="even", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1))
    return _curve(
        model,
        ("ROC curve", "false positive rate", "recall"),
        lambda one: (one.false_positive_rate, one.recall),
        # Above the highest threshold nothing is predicted.
        lambda last: (0.0, 0.0),
        even,
    )


def precision_recall_plot(model: ModelResult) -> Markup:
    """Plot the precision over the recall at each threshold; empty without a curve."""
    return _curve(
        model,
        ("Precision and recall", "recall", "precision"),
        lambda one: (one.recall, one.precision),
        # At the highest threshold the precision is as good as known; the recall goes on to 0.
        lambda last: (0.0, last[1]),
    )


def agreement_plot(model: ModelResult) -> Markup:
    """Plot what the sums say of the truths over the predictions: the means, the ellipses of one and two
    standard deviations, the line of best fit, and the line of equal numbers. Empty without numbers."""
    means, deviations = _center(model)
    if not means or not deviations:
        return Markup()
    reach = [
        mean + side * each for mean, each in zip(means, deviations, strict=True) for side in (-2, 2)
    ]
    scale = padded_axis(min(reach), max(reach))
    together = model.correlation or 0.0
    apart = sqrt(max(0.0, 1 - together**2))

    def place(x: float, y: float) -> tuple[float, float]:
        return scale.part(x), scale.part(y)

    marks = []
    for size in (2, 1):
        outline = []
        for i in range(_SIDES):
            across, up = cos(2 * pi * i / _SIDES), sin(2 * pi * i / _SIDES)
            outline.append(
                place(
                    means[0] + size * deviations[0] * across,
                    means[1] + size * deviations[1] * (together * across + apart * up),
                )
            )
        marks.append(tag("polygon", class_="ellipse", points=_path(outline)))
    marks.append(tag("line", class_="even", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1)))
    if model.slope is not None and model.intercept is not None:
        ends = [means[0] + side * deviations[0] for side in (-2, 2)]
        line = [place(x, model.intercept + model.slope * x) for x in ends]
        marks.append(_line(line))
    hint = f"mean predicted {amount(means[0])}, mean actual {amount(means[1])}"
    x, y = place(*means)
    marks.append(tag("circle", tag("title", hint), class_="best", cx=_x(x), cy=_y(y), r=5.5))
    ticks = [(scale.part(mark), text) for mark, text in zip(scale.marks, scale.texts, strict=True)]
    names = (f"predicted{scale.remark}", f"actual{scale.remark}")
    return _square("Predicted against actual", *names, *marks, ticks=ticks)


def _center(model: ModelResult) -> tuple[Sequence[float], Sequence[float]]:
    """The means and the standard deviations of the predictions and of the truths; empty if not
    defined."""
    means = [each for each in (model.mean_predicted, model.mean_actual) if each is not None]
    deviations = (model.deviation_predicted, model.deviation_actual)
    return means, [each for each in deviations if each is not None]


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


def _curve(
    model: ModelResult,
    names: tuple[str, str, str],
    place: Place,
    end: Callable[[tuple[float, float]], tuple[float, float]],
    *before: Markup,
) -> Markup:
    """A line through the places of all thresholds, with marks; empty without any. ``end`` gives the last
    point from the one before it."""
    points = [(x, y) for x, y in map(place, model.thresholds) if x is not None and y is not None]
    if not points:
        return Markup()
    points.append(end(points[-1]))
    return _square(*names, *before, _line(points), *_marked(model, place))


def _marked(model: ModelResult, place: Place) -> Iterator[Markup]:
    """Marks at the current threshold and at that of the best F1."""
    current = current_threshold(model)
    best = next((each for each in model.thresholds if each.threshold == model.best_threshold), None)
    for one, style, name in ((best, "best", "best F1"), (current, "current", "current")):
        x, y = (None, None) if one is None else place(one)
        if one is not None and x is not None and y is not None:
            hint = f"{name}: threshold {one.threshold:.3f}, ({x:.3f}, {y:.3f})"
            yield tag("circle", tag("title", hint), class_=style, cx=_x(x), cy=_y(y), r=5.5)


def _line(points: Sequence[tuple[float, float]]) -> Markup:
    return tag("polyline", class_="line", points=_path(points))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)


#: The marks of both axes of a plot of shares: the place, and the text.
_QUARTERS = [(i / 4, f"{i / 4:g}") for i in range(5)]


def _square(
    title: str,
    across: str,
    up: str,
    *parts: Markup,
    ticks: Sequence[tuple[float, str]] = _QUARTERS,
) -> Markup:
    grid = []
    for place, text in ticks:
        x, y = _x(place), _y(place)
        grid.append(tag("line", class_="grid", x1=_x(0), x2=_x(1), y1=y, y2=y))
        grid.append(tag("line", class_="grid", x1=x, x2=x, y1=_y(0), y2=_y(1)))
        grid.append(tag("text", text, x=_LEFT - 6, y=y + 4, text_anchor="end"))
        grid.append(tag("text", text, class_="tick", x=x, y=_y(0) + 16, text_anchor="middle"))
    middle = _TOP + _SIDE / 2
    names = (
        tag("text", across, x=_LEFT + _SIDE / 2, y=_HEIGHT - 8, text_anchor="middle"),
        tag(
            "text", up, x=15, y=middle, text_anchor="middle", transform=f"rotate(-90 15 {middle:g})"
        ),
    )
    return tag("svg", *grid, *names, *parts, class_="plot square", role="img", aria_label=title,
               viewBox=f"0 0 {_WIDTH} {_HEIGHT}")  # fmt: skip


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE
