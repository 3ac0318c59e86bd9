"""The nowcast, its hindcast and the drift of a model in plain words (counting rules 30 to 32)."""

from collections.abc import Iterator

from processor.domain.results import ModelResult
from processor.report.formats.plots import amount, percent, score_text

_AGES = {"1h": "1 hour", "6h": "6 hours", "1d": "1 day", "3d": "3 days"}


def sentences(model: ModelResult) -> Iterator[str]:
    """Yield the sentences about late labels but that about drift; none without a nowcast."""
    for sentence in (nowcast_sentence(model), pace_sentence(model)):
        if sentence is not None:
            yield sentence


def nowcast_sentence(model: ModelResult) -> str | None:
    """Return what the accuracy, or the error of numbers, will be once the labels are in, or why nothing
    is said; None without a nowcast."""
    found = model.nowcast
    if found is None:
        return None
    judged = f"{_percent(model.coverage)} of {model.predictions or 0:,} predictions are judged"
    if found.withheld is not None:
        sentence = f"{judged}; the nowcast is withheld: {found.withheld}"
    else:
        said = []
        if found.mae is not None:
            said.append(
                f"the mean absolute error will be {amount(found.mae_low)} to {amount(found.mae_high)} "
                f"(nowcast {amount(found.mae)})"
            )
        if found.accuracy is not None:
            low, high = _number(found.accuracy_low), _percent(found.accuracy_high)
            said.insert(0, f"accuracy will be {low} to {high} (nowcast {_percent(found.accuracy)})")
        sentence = f"{judged}; from the delays seen so far, {' and '.join(said)}"
    return sentence


def pace_sentence(model: ModelResult) -> str | None:
    """Return how many labels have arrived, how many would have at the usual pace, and how many of the
    newest predictions' labels will arrive; None if that is not known."""
    found = model.nowcast
    if found is None or found.expected_judged is None:
        return None
    # The first part counts all labels alike; in the fit a label stands for those of its outcome to come.
    fit = ""
    if found.fit is not None:
        fit = (
            f"; judging by the labels of the newest day, {found.fit:.0%} of the usual number will "
            f"arrive (fit {found.fit:.2f})"
        ).replace("%", " %")
    return (
        f"{model.judged:,} labels have arrived; at the usual pace it would be "
        f"{found.expected_judged:,.0f}{fit}"
    )


def hindcast_rows(model: ModelResult) -> list[list[str]]:
    """Return a table of how right the nowcast would have been, with its head; an empty one if no day is
    mature."""
    found = model.nowcast
    past = [] if found is None else [one for one in found.hindcast if one.cohorts]
    if not past:
        return []
    head = ["nowcast of past days, at the age of", "mean error", "held by the interval", "days"]
    points = _percent_error if found is not None and found.mae is not None else _points
    rows = [
        [_AGES.get(one.age, one.age), points(one.mean_error), _percent(one.coverage),
         f"{one.cohorts:,}"]
        for one in past
    ]  # fmt: skip
    return [head, *rows]


def drift_sentence(model: ModelResult) -> str | None:
    """Return how far the predicted labels are from those before, in words; None if that is not known."""
    found = model.drift
    if found is None:
        return None
    parts = [_drift("the time before", found.jensen_shannon, found.by_chance)]
    if found.week_jensen_shannon is not None and found.week_by_chance is not None:
        parts.append(_drift("a week ago", found.week_jensen_shannon, found.week_by_chance))
    return f"predicted labels {', and '.join(parts)}"


def _drift(before: str, distance: float, by_chance: float) -> str:
    how = "differ from" if distance > by_chance else "are like"
    return (
        f"{how} those of {before} (Jensen-Shannon distance {score_text(distance)}, "
        f"by chance up to {score_text(by_chance)})"
    )


def _percent(value: float | None) -> str:
    return percent(value).replace("\u202f", " ")


def _number(value: float | None) -> str:
    return _percent(value).removesuffix(" %")


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} points"


def _percent_error(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} %"
