"""Which column of a table holds what: as named by the user, by the standard names, or as guessed."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from processor.errors import EventsFileError, SettingsError

#: The standard names of columns, in the order of `Cells`, and `SCORE` before a class.
STANDARD = (
    "prediction", "actual", "reward", "request_id", "time", "feedback_time",
    "namespace", "deployment", "predictor", "model",
)  # fmt: skip
SCORE = "score_"
#: Where some of them are.
PREDICTED, ACTUAL, REWARD, ID, TIME, FEEDBACK_TIME, _, DEPLOYMENT = range(8)
_EXAMPLE = (
    "cat", "dog", "1", "17", "2026-11-20T09:03:59Z", "2026-11-21T12:00:00Z",
    "shop", "pets", "default", "classifier",
)  # fmt: skip
#: The deployment of rows that name none.
DATA = "data"
#: Other names that columns often have, the likeliest first; compared without case, blanks and dashes.
_GUESSES = {
    "predicted": (
        "y_pred", "prediction", "predicted", "pred", "preds", "predictions", "y_hat", "yhat",
        "predicted_label", "pred_label", "label_pred", "predicted_class", "predict", "output",
    ),
    "actual": (
        "y_true", "actual", "truth", "ground_truth", "true_label", "label_true", "true_class",
        "label", "labels", "target", "expected", "actual_label", "y_test", "y", "gold", "class",
    ),
    "id": ("request_id", "requestid", "id", "prediction_id", "event_id", "uuid", "row_id"),
    "time": (
        "time", "timestamp", "ts", "request_time", "prediction_time", "predicted_at", "event_time",
        "datetime", "date", "created_at",
    ),
    "feedback_time": (
        "feedback_time", "feedback_at", "label_time", "labeled_at", "labelled_at", "truth_time",
        "actual_time",
    ),
    "deployment": ("deployment", "model_name", "model_id", "service"),
}  # fmt: skip
#: The standard names of these options, where they are others.
_STANDARD_OF = {"predicted": "prediction", "id": "request_id"}
_SCORE_GUESSES = (SCORE, "proba_", "prob_", "probability_", "p_")
#: Columns that a message lists at most.
_MAX_NAMES = 30


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns as the user named them; empty where the standard name is meant. A score is a
    column, or ``COLUMN=CLASS``. ``deployment`` is a column, or the name of rows that name none."""

    predicted: str = ""
    actual: str = ""
    scores: tuple[str, ...] = ()
    id: str = ""
    time: str = ""
    feedback_time: str = ""
    deployment: str = ""
    in_several: bool = False
    """Whether several tables have these columns between them, so that one may lack some."""

    renamed: bool = False
    """Whether the user gives columns the standard names, having no options: in Python."""

    def named(self, names: Collection[str]) -> set[str]:
        """All columns that the user named, as they are in tables with ``names``."""
        given = {
            self.predicted, self.actual, self.id, self.time, self.feedback_time,
            *(each if each in names else each.rpartition("=")[0] or each for each in self.scores),
        }  # fmt: skip
        return given - {""}

    def is_given(self) -> bool:
        """Whether the user said what a prediction or a truth is."""
        return bool(self.predicted or self.actual or self.scores)


class Chosen(NamedTuple):
    """Where the cells of `STANDARD` are in a table: names of columns, None where there is none.
    ``scores`` are columns with their classes; ``deployment`` is that of rows that name none."""

    columns: tuple[str | None, ...]
    scores: tuple[tuple[str, str], ...]
    deployment: str

    @property
    def used(self) -> tuple[str | None, ...]:
        """All columns whose cells are read, in order."""
        return *self.columns, *(column for column, _ in self.scores)

    @property
    def has_content(self) -> bool:
        """Whether a row can say anything: a prediction, a truth or a reward."""
        return bool(self.scores) or any(self.columns[: REWARD + 1])

    def with_standard(self) -> "Chosen":
        """The same with the standard names for columns that are missing, but for the id: a later row
        may have them."""
        pairs = enumerate(zip(self.columns, STANDARD, strict=True))
        filled = tuple(name or (None if at == ID else other) for at, (name, other) in pairs)
        return self._replace(columns=filled)

    @property
    def has_truth(self) -> bool:
        """Whether a row can have a truth or a reward."""
        return any(self.columns[ACTUAL : REWARD + 1])


def choose(names: Sequence[str], columns: Columns, source: str) -> Chosen:
    """The columns of a table that has ``names``; `SettingsError` where a named one is missing."""

    def find(given: str, option: str, standard: str) -> str | None:
        if not given:
            return standard if standard in names else None
        if given in names:
            return given
        if columns.in_several:
            return None
        raise SettingsError(f"{source} has no column {given!r} ({option}): it has {listed(names)}")

    is_column = columns.deployment in names
    found = (
        find(columns.predicted, "--predicted", "prediction"),
        find(columns.actual, "--actual", "actual"),
        find("", "", "reward"),
        find(columns.id, "--id", "request_id"),
        find(columns.time, "--time", "time"),
        find(columns.feedback_time, "--feedback-time", "feedback_time"),
        find("", "", "namespace"),
        find(columns.deployment if is_column else "", "--deployment", "deployment"),
        find("", "", "predictor"),
        find("", "", "model"),
    )
    scores = tuple(_scores(names, columns, source))
    repeated = next((name for name in found if name and names.count(name) > 1), None)
    if repeated is not None:
        raise SettingsError(f"{source} has two columns {repeated!r}: rename one of them")
    return Chosen(found, scores, DATA if is_column else columns.deployment or DATA)


def _scores(names: Sequence[str], columns: Columns, source: str) -> Iterator[tuple[str, str]]:
    """Columns of scores with the class of each."""
    if not columns.scores:
        yield from ((name, name.removeprefix(SCORE)) for name in names if _is_score(name))
    for each in columns.scores:
        column, _, label = each.rpartition("=")
        if each in names:
            column, label = each, each.removeprefix(SCORE) or each
        if column in names:
            yield column, label
        elif not columns.in_several:
            raise SettingsError(
                f"{source} has no column {column or each!r} (--score): it has {listed(names)}"
            )


def _is_score(name: str) -> bool:
    return name.startswith(SCORE) and name != SCORE


def is_standard(names: Iterable[str]) -> bool:
    """Whether a table with these columns says by their names what a prediction or a truth is."""
    return any(name in STANDARD[: REWARD + 1] or _is_score(name) for name in names)


def unknown_columns(names: Sequence[str], source: str, renamed: bool) -> EventsFileError:
    """The error for a table of which nothing is known: its columns, and what to try: a command, or in
    Python, where columns are ``renamed``, a line of code."""
    remedy = f"processor report {shlex.quote(source)} {guess(names)}"
    if renamed:
        remedy = f"evaluate(frame.rename(columns={guess_renaming(names)}))"
    return EventsFileError(
        f"{source} has the columns {listed(names)}: say which hold the prediction and the truth, as in"
        f"\n  {remedy}"
    )


def example(names: Sequence[str], chosen: Chosen) -> list[str]:
    """The cells of a row that can be read, for a table with these columns.

    >>> names = ["id", "ts", "y_pred", "y_true", "note"]
    >>> example(names, choose(names, Columns("y_pred", "y_true", id="id", time="ts"), "a.csv"))
    ['17', '2026-11-20T09:03:59Z', 'cat', 'dog', '...']
    """
    known = dict.fromkeys((column for column, _ in chosen.scores), "0.5")
    known |= {
        column: cell
        for column, cell in zip(chosen.columns, _EXAMPLE, strict=True)
        if column is not None
    }
    return [known.get(name, "...") for name in names]


def guess(names: Sequence[str]) -> str:
    """The options that are likely for a table with these columns.

    >>> guess(["id", "ts", "y_pred", "y_true"])
    '--predicted y_pred --actual y_true --id id --time ts'
    >>> guess(["Label", "proba_cat", "proba_dog"])
    '--score proba_cat=cat --score proba_dog=dog --actual Label'
    >>> guess(["a", "b"])
    '--predicted COLUMN --actual COLUMN'
    """
    return " ".join(
        f"--{option.replace('_', '-')} {shlex.quote(column + (label and '=' + label))}"
        for option, column, label in _guesses(names)
    )


def guess_renaming(names: Sequence[str]) -> str:
    """The same in Python: new names of columns.

    >>> guess_renaming(["ts", "proba_cat", "y_true"])
    "{'proba_cat': 'score_cat', 'y_true': 'actual', 'ts': 'time'}"
    """
    renaming = {
        column: SCORE + label if label else _STANDARD_OF.get(option, option)
        for option, column, label in _guesses(names)
    }
    return str(renaming)


def _guesses(names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Options with the column that is likely for each, and the class where it is of scores."""
    found = {
        option: column for option in _GUESSES if (column := _likely(names, option)) is not None
    }
    scores = [
        ("score", name, name[len(prefix) :])
        for name in names
        for prefix in _SCORE_GUESSES
        if name.lower().startswith(prefix) and len(name) > len(prefix)
    ]
    if "predicted" in found or not scores:
        yield "predicted", found.pop("predicted", "COLUMN"), ""
    else:
        yield from scores
    yield "actual", found.pop("actual", "COLUMN"), ""
    yield from ((option, name, "") for option, name in found.items() if name not in STANDARD)


def guess_actual(names: Sequence[str], renamed: bool) -> str:
    """What makes a column that is likely to have the truth count as it; empty where none is likely."""
    likely = _likely(names, "actual")
    if likely is None:
        return ""
    return f"rename {likely!r} to 'actual'" if renamed else f"add --actual {shlex.quote(likely)}"


def _likely(names: Iterable[str], option: str) -> str | None:
    plain = {name.strip().lower().replace("-", "_").replace(" ", "_"): name for name in names}
    return next((plain[each] for each in _GUESSES[option] if each in plain), None)


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(name or "(no name)" for name in names[:_MAX_NAMES]) + more
