"""What each fault did: collected as the tests run, and shown as a table at their end."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """One fault: how often it struck, what was on its way, and how it ended."""

    fault: str
    events: int = 0
    """Events of the whole load."""
    in_flight: int = 0
    """Events that came in between a fault and the recovery from it, over all repetitions."""
    seconds: list[float] = field(default_factory=list)
    """To recover: one number each time it struck."""
    difference: int | None = None
    """Models whose final numbers are not those of the truth; None while that is not known."""


#: In the order of the tests.
OUTCOMES: list[Outcome] = []

_HEAD = ("fault", "times", "events", "in flight", "difference", "seconds to recover")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of a Markdown table."""
    rows = [_HEAD, *(_row(outcome) for outcome in outcomes)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---|--:|--:|--:|--:|---|", *lines[1:]]


def _row(outcome: Outcome) -> tuple[str, ...]:
    difference = "not compared" if outcome.difference is None else str(outcome.difference)
    return (
        outcome.fault,
        str(max(1, len(outcome.seconds))),
        f"{outcome.events:,}",
        f"{outcome.in_flight:,}",
        difference,
        ", ".join(f"{seconds:.1f}" for seconds in outcome.seconds) or "-",
    )
