"""A report as text for a terminal."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import msgspec

from processor.domain.results import ClassResult, Events, MeanResult, ModelResult
from processor.domain.timestamps import parse_time
from processor.report.compare import Comparison, Comparisons, SignificanceTest, period_title
from processor.report.data import Report
from processor.report.matrix import matrix

#: Columns that a line of a matrix may take.
_WIDTH = 100
_LABEL = 24
#: Columns of a matrix at most.
_COLUMNS = 12
#: Classes with scores of their own; the smaller ones are left to JSON and CSV.
_CLASSES = 40


def render_text(report: Report) -> Iterator[str]:
    """The report, in pieces."""
    replay = report.replay
    yield f"{_period(replay.from_, replay.to)}, by time of {replay.by}\n\n"
    for model in replay.models:
        yield render_model(model)
    if not replay.models:
        yield "no predictions\n\n"
    if report.compared is not None:
        yield from render_comparisons(report.compared)
    yield _events(replay.events) + "\n"


def render_comparisons(compared: Comparisons) -> Iterator[str]:
    """Comparisons, and what could not be compared."""
    for comparison in compared.comparisons:
        yield _comparison(comparison)
    for line in not_compared(compared):
        yield f"{line}\n\n"


def render_model(model: ModelResult) -> str:
    """Numbers, matrix and scores of one model."""
    lines = [
        printable("/".join((model.namespace, model.deployment, model.predictor, model.model)), 200),
        f"  accuracy     {ratio(model.accuracy)}  [{ratio(model.accuracy_low)}, "
        f"{ratio(model.accuracy_high)}]  {model.correct:,} correct of {model.judged:,} judged",
    ]
    if model.predictions is not None:
        lines.append(
            f"  coverage     {ratio(model.coverage)}  {model.judged:,} judged of "
            f"{model.predictions:,} predicted"
        )
    lines.append(f"  correlation  Matthews {ratio(model.mcc)}  Cohen's kappa {ratio(model.kappa)}")
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
        lines += ["", *_matrix(model), "", *_scores(model)]
    return "\n".join(lines) + "\n\n"


def _matrix(model: ModelResult) -> list[str]:
    """As many of the largest classes as fit, with shorter names over the columns before fewer."""
    for most, length in [(_COLUMNS, each) for each in (_LABEL, 14, 8)] + [
        (most, 8) for most in range(_COLUMNS - 1, 0, -1)
    ]:
        shown = matrix(model, most)
        lines = table(
            [
                ["actual \\ predicted", *(printable(label, length) for label in shown.labels)],
                *(
                    [printable(label, _LABEL), *(f"{n:,}" for n in row)]
                    for label, row in zip(shown.labels, shown.counts, strict=True)
                ),
            ]
        )
        if max(map(len, lines)) <= _WIDTH:
            break
    if shown.hidden:
        lines.append(f"  other: {shown.hidden:,} smaller classes")
    return lines


def _scores(model: ModelResult) -> list[str]:
    largest = sorted(model.classes, key=lambda label: -model.classes[label].support)[:_CLASSES]
    rows = [["class", "precision", "recall", "specificity", "F1", "support"]]
    rows += [
        [printable(label, _LABEL), *_four(each), f"{each.support:,}"]
        for label, each in model.classes.items()
        if label in largest
    ]
    means = {"macro": model.macro, "weighted": model.weighted, "micro": model.micro}
    rows += [[f"({name})", *_four(mean), ""] for name, mean in means.items()]
    lines = table(rows)
    if len(model.classes) > _CLASSES:
        lines.append(f"  and {len(model.classes) - _CLASSES:,} smaller classes")
    return lines


def _four(scores: ClassResult | MeanResult) -> list[str]:
    return [
        ratio(scores.precision),
        ratio(scores.recall),
        ratio(scores.specificity),
        ratio(scores.f1),
    ]


def _comparison(comparison: Comparison) -> str:
    first, second = comparison.first, comparison.second
    one, other = first.result, second.result
    shown: list[tuple[str, Callable[[ModelResult], str]]] = [
        ("predictions", lambda model: count(model.predictions)),
        ("judged", lambda model: count(model.judged)),
        ("correct", lambda model: count(model.correct)),
        ("coverage", lambda model: ratio(model.coverage)),
        ("accuracy", lambda model: ratio(model.accuracy)),
        ("  95 % from", lambda model: ratio(model.accuracy_low)),
        ("  to", lambda model: ratio(model.accuracy_high)),
        ("macro F1", lambda model: ratio(model.macro.f1)),
        ("Matthews", lambda model: ratio(model.mcc)),
    ]
    rows = [["", printable(first.title, 60), printable(second.title, 60)]]
    rows += [[name, value(one), value(other)] for name, value in shown]
    name = f"{one.namespace}/{one.deployment}"
    if one.predictor == other.predictor:
        name += f"/{one.predictor}/{one.model}"
    lines = [f"comparison: {printable(name, 200)}", *table(rows)]
    if comparison.difference is not None:
        lines.append(f"  accuracy of the second less the first: {comparison.difference:+.4f}")
    lines += [f"  {significance(test)}" for test in comparison.tests] or ["  no test applies"]
    return "\n".join(lines) + "\n\n"


def significance(test: SignificanceTest) -> str:
    """A test's result in one line."""
    parts = [f"{test.name}: p = {test.p_value:.4g}"]
    if test.statistic is not None:
        parts.append(f"statistic {test.statistic:.4f}")
    if test.pairs is not None:
        parts.append(
            f"{test.pairs:,} items answered by both, right only in the first {test.only_first:,}, "
            f"only in the second {test.only_second:,}"
        )
    return ", ".join(parts)


def not_compared(compared: Comparisons) -> Iterator[str]:
    """What has to be said where not everything found its other side."""
    if compared.not_compared:
        names = ", ".join(printable(name, 200) for name in compared.not_compared)
        yield f"not compared, having no counterpart: {names}"
    elif not compared.comparisons:
        yield "nothing to compare"


def _events(events: Events) -> str:
    """What became of the events, without the zeros: what was not understood must show."""
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
    """Aligned columns, the first to the left and the others to the right, without spaces at the
    end."""
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
    """Columns of a terminal that the text takes."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def printable(text: str, most: int) -> str:
    r"""A name of anybody's as one short line that a terminal shows and does not obey.

    >>> printable("cat\x1b[2J", 20), printable("abcdef", 4), printable("", 4)
    ('cat\\x1b[2J', 'abc…', '(empty)')
    """
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return (shown if len(shown) <= most else shown[: most - 1] + "…") or "(empty)"


def ratio(value: float | None) -> str:
    """Four digits, or a dash for what is undefined."""
    return "-" if value is None else f"{value:.4f}"


def count(value: int | None) -> str:
    """With separators, or a dash for what there is not."""
    return "-" if value is None else f"{value:,}"
