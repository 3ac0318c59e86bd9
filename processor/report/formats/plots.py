"""Plots as inline SVG with selectable text; the style sheet sets colours and fonts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import cos, floor, log10, pi, sin
from typing import NamedTuple

from processor.domain.tally.windows import DAY, HOUR, MINUTE
from processor.report.data import ModelTimeline, Point
from processor.report.formats.axes import padded_axis
from processor.report.formats.markup import Markup, join, tag
from processor.telemetry import DELAY_BOUNDS

#: Size and margins of a plot in units of its view box, about a pixel each.
_WIDTH, _HEIGHT = 460, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 8, 10, 28
#: Shown in place of an undefined number.
DASH = "\u2013"
_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (1, "s"))


def percent(value: float | None, digits: int = 1) -> str:
    """A share between 0 and 1 as a percentage; a dash for None.

    >>> percent(0.63), percent(None)
    ('63.0\u202f%', '\u2013')
    """
    return DASH if value is None else f"{100 * value:.{digits}f}\u202f%"


def score_text(value: float | None) -> str:
    """A score with three digits; a dash for None."""
    return DASH if value is None else f"{value:.3f}"


def amount(value: float | None) -> str:
    """A number in its own measure with three significant digits at least; a dash for None.

    >>> amount(1234.5), amount(0.04567), amount(-2), amount(3.4e-9)
    ('1,234', '0.0457', '-2.00', '3.40e-09')
    """
    if value is None:
        return DASH
    size = floor(log10(abs(value))) if value else 0
    return f"{value:.2e}" if size < -4 or size > 14 else f"{value:,.{max(0, 2 - size)}f}"


def short_amount(value: float) -> str:
    """A number for an axis, in thousands and so on where it is large.

    >>> short_amount(0), short_amount(45_000), short_amount(1.5), short_amount(2.5e6), short_amount(3e-7)
    ('0', '45k', '1.5', '2.5M', '3e-7')
    """
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if least <= abs(value) < 1e12:
            return f"{value / size:.3g}{unit}"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.3g}"
    return text.replace("e-0", "e-").replace("e+", "e")


def scale_end(largest: float) -> float:
    """The round number at which a scale for values up to ``largest`` ends; 0 for 0.

    >>> [scale_end(n) for n in (0.0, 0.013, 1.62, 740.0)]
    [0, 0.015, 2.0, 800.0]
    """
    if largest <= 0:
        return 0
    power = 10.0 ** floor(log10(largest))
    return next(n * power for n in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if n * power >= largest)


def duration(seconds: float) -> str:
    """A duration in its largest whole unit.

    >>> duration(300), duration(86400), duration(10800)
    ('5\u202fmin', '1\u202fd', '3\u202fh')
    """
    size, unit = next(each for each in _UNITS if seconds >= each[0] and seconds % each[0] == 0)
    return f"{seconds / size:g}\u202f{unit}"


def accuracy_plot(timeline: ModelTimeline, name: str = "Accuracy") -> Markup:
    """Plot the accuracy of each point with its 95 % Wilson interval; empty without any."""
    marks = []
    for point in timeline.points:
        low, high = point.interval
        if point.accuracy is not None and low is not None and high is not None:
            hint = (
                f"{percent(point.accuracy)} ({percent(low)} to {percent(high)}), "
                f"{point.correct:,} of {point.decided:,}"
            )
            marks.append(_Mark(point, point.accuracy, low, high, hint))
    lined = grid([(each / 4, f"{25 * each}\u202f%") for each in range(5)])
    return _line_plot(f"{name} over time", timeline, lined, marks)


def means_plot(timeline: ModelTimeline) -> Markup:
    """Plot the mean prediction and the mean truth of each point; empty without numbers."""
    means = [(point, *point.numbers.means()) for point in timeline.points]
    found = [(p, predicted, actual) for p, predicted, actual in means
             if predicted is not None and actual is not None]  # fmt: skip
    if not found:
        return Markup()
    values = [value for _, *pair in found for value in pair]
    up = padded_axis(min(values), max(values))
    scale = TimeScale([point for point, _, _ in found], timeline.length)
    lines: dict[str, list[str]] = {"actual-line": [], "line": []}
    dots = []
    for point, predicted, actual in found:
        x = scale.middle(point)
        both = f"mean predicted {amount(predicted)}, mean actual {amount(actual)}"
        text = f"{moment(point.start, timeline.length)}: {both}, {point.numbers.items:,} items"
        hint = tag("title", text)
        for style, value in (("actual-line", actual), ("line", predicted)):
            y = height_of(up.part(value))
            lines[style].append(f"{x:.1f},{y:.1f}")
            dots.append(tag("circle", hint, class_="dot" if style == "line" else "actual-dot",
                            cx=x, cy=y, r=3))  # fmt: skip
    lined = grid([(up.part(mark), text) for mark, text in zip(up.marks, up.texts, strict=True)])
    drawn = [tag("polyline", class_=style, points=" ".join(p)) for style, p in lines.items()]
    if up.base:
        lined = join(lined, tag("text", f"each{up.remark}", x=_LEFT, y=_TOP + 2))
    return frame("Mean predicted and mean actual over time", lined, scale.axis(), *drawn, *dots)


def error_plot(timeline: ModelTimeline) -> Markup:
    """Plot the MAE of each point with its 95 % interval; empty without items judged as numbers."""
    means = [(point, *point.numbers.mean_error()) for point in timeline.points]
    bounds = [high if high is not None else mae for _, mae, _, high in means if mae is not None]
    if not bounds:
        return Markup()
    top = scale_end(max(bounds)) or 1.0
    marks = []
    for point, mae, low, high in means:
        if mae is not None:
            low, high = (mae, mae) if low is None or high is None else (max(0.0, low), high)
            hint = f"{amount(mae)} ({amount(low)} to {amount(high)}), {point.numbers.items:,} items"
            marks.append(_Mark(point, mae / top, low / top, high / top, hint))
    lined = grid([(each / 4, short_amount(top * each / 4)) for each in range(5)])
    return _line_plot("Mean absolute error over time", timeline, lined, marks)


class _Mark(NamedTuple):
    """A point of a line with its interval, as shares of the plot's height."""

    point: Point
    value: float
    low: float
    high: float
    hint: str


def _line_plot(title: str, timeline: ModelTimeline, lined: Markup, found: list[_Mark]) -> Markup:
    if not found:
        return Markup()
    scale = TimeScale([mark.point for mark in found], timeline.length)
    bands, dots, line = [], [], []
    for point, value, low, high, text in found:
        x, top = scale.middle(point), height_of(high)
        hint = tag("title", f"{moment(point.start, timeline.length)}: {text}")
        line.append(f"{x:.1f},{height_of(value):.1f}")
        bands.append(
            tag("rect", hint, class_="band", x=x - scale.width / 2, y=top, width=scale.width,
                height=max(1.0, height_of(low) - top), rx=2)
        )  # fmt: skip
        dots.append(tag("circle", hint, class_="dot", cx=x, cy=height_of(value), r=3))
    shown = tag("polyline", class_="line", points=" ".join(line))
    return frame(title, lined, scale.axis(), *bands, shown, *dots)


def coverage_plot(timeline: ModelTimeline, by_request: bool) -> Markup:
    """Plot the predicted items (only if ``by_request``) and the judged items of each point; empty
    without any."""
    points = timeline.points
    largest = max(
        (point.predictions if by_request else point.judged for point in points), default=0
    )
    if not largest:
        return Markup()
    scale = TimeScale(points, timeline.length)
    top = _round_up(largest)
    bars = []
    for point in points:
        hint = f"{moment(point.start, timeline.length)}: {point.judged:,} judged"
        if by_request:
            hint += f" of {point.predictions:,} predicted, {percent(point.coverage)}"
        values = [("all", point.predictions)] if by_request else []
        for kind, value in [*values, ("part", point.judged)]:
            y = height_of(value / top)
            bars.append(
                tag("rect", tag("title", hint), class_=kind, x=scale.middle(point) - scale.width / 2,
                    y=y, width=scale.width, height=_HEIGHT - _BOTTOM - y)
            )  # fmt: skip
    lined = grid([(each / 2, f"{top * each / 2:,.5g}") for each in range(3)])
    return frame("Items over time", lined, scale.axis(), *bars)


def delay_plot(timeline: ModelTimeline) -> Markup:
    """Plot the number of feedbacks by delay; empty without any delay."""
    used = [i for i, n in enumerate(timeline.delays) if n]
    if not used:
        return Markup()
    first, last = used[0], used[-1]
    total, top = sum(timeline.delays), _round_up(max(timeline.delays))
    slot = (_WIDTH - _LEFT - _RIGHT) / (last - first + 1)
    width = min(slot * 0.82, 60)
    bars = []
    for i in range(first, last + 1):
        n = timeline.delays[i]
        over = i == len(DELAY_BOUNDS)
        name = f"> {duration(DELAY_BOUNDS[-1])}" if over else f"≤ {duration(DELAY_BOUNDS[i])}"
        x, y = _LEFT + slot * (i - first + 0.5), height_of(n / top)
        bars.append(
            tag("rect", tag("title", f"{name}: {n:,}, {percent(n / total)}"), class_="part",
                x=x - width / 2, y=y, width=width, height=_HEIGHT - _BOTTOM - y)
        )  # fmt: skip
        # Only every second or third name where they would overlap.
        if slot >= 64 or (i - first) % (2 if slot >= 32 else 3) == 0:
            bars.append(tag("text", name, class_="tick", x=x, y=_HEIGHT - 10, text_anchor="middle"))
    lined = grid([(each / 2, f"{top * each / 2:,.5g}") for each in range(3)])
    return frame("Feedback delay", lined, *bars)


def pie(title: str, parts: Sequence[tuple[str, str, int]]) -> Markup:
    """A pie chart with a legend; ``parts`` are CSS class, name and number of items."""
    total = sum(n for *_, n in parts)
    if not total:
        return Markup()
    slices, angle = [], 0.0
    for style, name, n in parts:
        share = n / total
        hint = tag("title", f"{name}: {n:,}, {percent(share)}")
        if share == 1:
            slices.append(tag("circle", hint, class_=style, cx=50, cy=50, r=46))
        elif n:
            start, angle = angle, angle + 2 * pi * share
            path = f"M50 50L{_at(start)}A46 46 0 {int(share > 0.5)} 1 {_at(angle)}Z"
            slices.append(tag("path", hint, class_=style, d=path))
    legend = [
        tag("li", tag("i", class_=f"key {style}"), f"{name} ", tag("b", percent(n / total)),
            tag("small", f" {n:,}"))
        for style, name, n in parts
    ]  # fmt: skip
    picture = tag("svg", *slices, viewBox="0 0 100 100", role="img", aria_label=title)
    return tag("div", picture, tag("ul", *legend), class_="pie")


def _at(angle: float) -> str:
    return f"{50 + 46 * sin(angle):.3f} {50 - 46 * cos(angle):.3f}"


class TimeScale:
    """The horizontal scale of a timeline's points; ``width`` is the width of a point's mark."""

    def __init__(self, points: Sequence[Point], length: int) -> None:
        self._start = points[0].start
        self._length = length
        self._slots = (points[-1].start - self._start) // length + 1
        self._slot = (_WIDTH - _LEFT - _RIGHT) / self._slots
        self.width = min(max(self._slot * 0.72, 1.5), 40)

    def middle(self, point: Point) -> float:
        """The x coordinate of a point's middle."""
        return _LEFT + self._slot * ((point.start - self._start) / self._length + 0.5)

    def axis(self) -> Markup:
        """The labels of the time axis, as many as fit."""
        stride = -(-self._slots // 4)
        return join(
            *(
                tag("text", moment(self._start + i * self._length, self._length), class_="tick",
                    x=_LEFT + self._slot * (i + 0.5), y=_HEIGHT - 10, text_anchor="middle",)
                for i in range(0, self._slots, stride)
                if not i or _LEFT + self._slot * (i + 0.5) < _WIDTH - 44
            )
        )  # fmt: skip


def moment(seconds: int, length: int) -> str:
    """A time, as precise as points of a length need it."""
    time = datetime.fromtimestamp(seconds, UTC)
    if length >= 28 * DAY:
        return time.strftime("%b %Y")
    return time.strftime("%-d %b" if length >= DAY else "%-d %b %H:%M")


def height_of(value: float) -> float:
    """The y coordinate of a share (0 to 1) of the plot's height."""
    return _HEIGHT - _BOTTOM - value * (_HEIGHT - _BOTTOM - _TOP)


def place(share: float) -> float:
    """The x coordinate of a share (0 to 1) of the plot's width."""
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def tick(x: float, name: str) -> Markup:
    """A name below the plot."""
    return tag("text", name, class_="tick", x=x, y=_HEIGHT - 10, text_anchor="middle")


def grid(ticks: Sequence[tuple[float, str]]) -> Markup:
    """Horizontal lines with their names, at shares of the height."""
    return join(
        *(
            join(
                tag(
                    "line",
                    class_="grid",
                    x1=_LEFT,
                    x2=_WIDTH - _RIGHT,
                    y1=height_of(y),
                    y2=height_of(y),
                ),
                tag(
                    "text", name, class_="tick", x=_LEFT - 6, y=height_of(y) + 4, text_anchor="end"
                ),
            )
            for y, name in ticks
        )
    )


def frame(title: str, *parts: Markup) -> Markup:
    """The picture of a plot's parts."""
    return tag(
        "svg", *parts, class_="plot", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img",
        aria_label=title,
    )  # fmt: skip


def _round_up(largest: int) -> int:
    """The even number at which a scale for values up to ``largest`` ends.

    >>> [_round_up(n) for n in (1, 7, 63, 140, 4096)]
    [2, 8, 80, 200, 5000]
    """
    power = 1
    while power * 10 <= largest:
        power *= 10
    top = next(n * power for n in (1, 2, 4, 5, 6, 8, 10) if n * power >= largest)
    return top + top % 2
