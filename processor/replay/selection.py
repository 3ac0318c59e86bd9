"""The part of a source that a replay counts."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from processor.domain.join.judge import Outcome
from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.replay.content_groups import Answers

#: Maximum number of names in a message.
_MAX_NAMES = 10


class Selection(NamedTuple):
    """The part of a source that counts.

    ``start`` and ``end`` bound the time on the basis ``by`` ("request" or "feedback"): [start, end) in
    ns, None for an open end. Observations later than ``as_of`` (ns) are ignored. An empty ``namespace``
    or ``deployment`` selects all of them.
    """

    by: str = "request"
    start: int | None = None
    end: int | None = None
    as_of: int | None = None
    namespace: str = ""
    deployment: str = ""

    def matches(self, key: ModelKey) -> bool:
        """Whether the model has the selected namespace and deployment."""
        return self.namespace in ("", key.namespace) and self.deployment in ("", key.deployment)

    def in_range(self, time: int) -> bool:
        """Whether a time (ns) is in [start, end)."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)

    def time_of(self, joined: JoinedPrediction) -> int | None:
        """The time (ns) of a prediction on the basis ``by``: its own, or that of its feedback; None
        without feedback."""
        counted = joined.feedback if self.by == "feedback" else joined.prediction
        return None if counted is None else counted.time

    def contribution(self, joined: JoinedPrediction) -> tuple[int, Counts] | None:
        """The time (ns) of a prediction on the basis ``by``, and the counts that it adds, which must
        not be changed. None where that time is out of range."""
        time = self.time_of(joined)
        if time is None or not self.in_range(time):
            return None
        return time, counts_of(joined.prediction.answers, joined.outcome, self.by)


def counts_of(answers: Answers | list[int], outcome: Outcome | None, by: str) -> Counts:
    """The counts that one prediction adds on the basis ``by``; they must not be changed."""
    counts = Counts() if outcome is None else outcome.counts
    if by == "request":
        counts = counts.copy()
        counts.predictions = 1 if isinstance(answers, int) else len(answers)
    return counts


def no_match(selection: Selection, names: Iterable[tuple[str, str]]) -> str:
    """The message that no model matches the selection; ``names`` are the namespace and deployment of
    every model that there is.

    >>> no_match(Selection(deployment="sklern"), [("seldon", "sklearn"), ("shop", "churn")])
    'no model matches --deployment sklern: did you mean seldon/sklearn?'
    >>> no_match(Selection(namespace="me"), [("seldon", "sklearn")])
    'no model matches --namespace me; there are: seldon/sklearn'
    """
    wanted = {"namespace": selection.namespace, "deployment": selection.deployment}
    asked = " ".join(f"--{option} {value}" for option, value in wanted.items() if value)
    there = sorted(names)
    close = [
        "/".join(pair)
        for pair in there
        if all(
            not value or get_close_matches(value, [name])
            for value, name in zip(wanted.values(), pair, strict=True)
        )
    ]
    if close:
        return f"no model matches {asked}: did you mean {' or '.join(close[:_MAX_NAMES])}?"
    more = f" and {len(there) - _MAX_NAMES} more" if len(there) > _MAX_NAMES else ""
    listed = ", ".join("/".join(pair) for pair in there[:_MAX_NAMES])
    return f"no model matches {asked}; there are: {listed}{more}"
