"""Remove names and labels that no request in memory refers to.

The tables of a state only grow while the join runs, since its requests point into them: a client that
sends a new name or label with every message makes them grow without end. Positions have no meaning
outside of a state, so a vacuum changes no delta, whenever it happens.
"""

from collections.abc import Iterable

from processor.domain.join.state import JoinState

#: A state with so many entries in its tables (some 50 MB) is worth a look at every request.
MIN_ENTRIES = 50_000

#: New positions in a table by the old ones.
_NewPositions = dict[int, int]


def is_worth_vacuuming(state: JoinState) -> bool:
    """Whether the tables of a state are so large that a vacuum pays."""
    return len(state.models) + len(state.answers) + len(state.truths) >= MIN_ENTRIES


def vacuum(state: JoinState) -> _NewPositions:
    """Remove unused entries from the tables of a state, which no fold may use yet. Returns the new
    positions of the remaining deployments by the old ones."""
    models, answers, truths, deployments = map(_renumber, state.requests.used())
    state.requests.renumber(models, answers, truths, deployments)
    state.models = [state.models[number] for number in models]
    state.answers = [state.answers[number] for number in answers]
    state.truths = [state.truths[number] for number in truths]
    state.deployments = [state.deployments[number] for number in deployments]
    return deployments


def _renumber(used: Iterable[int]) -> _NewPositions:
    return {old: new for new, old in enumerate(sorted(used))}
