"""Forgetting names, labels and contents that no request in memory speaks of any more.

The join's tables only grow while it runs, since its rows point into them; so whoever makes up a name or
a label with every message makes them grow. Positions mean nothing outside of a state, so forgetting
changes no delta, whenever it is done.
"""

from collections.abc import Iterable

from processor.domain.join.packed_table import ROW
from processor.domain.join.state import JoinState, Request, positions

#: Entries of all tables from which on it is worth a look at every request: some 50 MB.
WORTH = 50_000

#: Positions in a table that are left, by what they were.
_Places = dict[int, int]


def is_worth_vacuuming(state: JoinState) -> bool:
    """Whether the tables are large."""
    names = len(state.models) + len(state.answers) + len(state.truths)
    return names + len(state.made) + len(state.said) >= WORTH


def compact(state: JoinState) -> _Places:
    """Drop from the tables of a state what nothing uses; no fold may have it yet. The new positions of
    the deployments that are left, by their old ones."""
    requests = [request for others in state.others for request in others.values()]
    made, said = _used_by_rows(state)
    models, answers, truths = _used(state, requests, made, said)
    deployments = _places(
        number for number, others in enumerate(state.others) if others or state.packed[number].count
    )
    state.made = [
        one._replace(model=models[one.model], answer=answers[one.answer])
        for one in (state.made[number] for number in made)
    ]
    state.said = [
        one._replace(
            scope=models[one.scope], truth=None if one.truth is None else truths[one.truth]
        )
        for one in (state.said[number - 1] for number in said)
    ]
    for request in requests:
        for prediction in request.predictions:
            prediction.model = models[prediction.model]
            prediction.answers = _moved(prediction.answers, answers)
        for feedback in request.feedbacks:
            feedback.scope = models[feedback.scope]
            if feedback.truth is not None:
                feedback.truth = _moved(feedback.truth, truths)
    for table in state.packed:
        for bucket in table.buckets:
            bucket[:] = b"".join(
                [
                    ROW.pack(
                        key,
                        first_seen_hour,
                        made[what],
                        predicted_at,
                        said[judged] if judged else 0,
                        feedback_at,
                    )
                    for key, first_seen_hour, what, predicted_at, judged, feedback_at in ROW.iter_unpack(
                        bytes(bucket)
                    )
                ]
            )
    state.models = [state.models[number] for number in models]
    state.answers = [state.answers[number] for number in answers]
    state.truths = [state.truths[number] for number in truths]
    state.deployments = [state.deployments[number] for number in deployments]
    state.packed = [state.packed[number] for number in deployments]
    state.others = [state.others[number] for number in deployments]
    return deployments


def _used_by_rows(state: JoinState) -> tuple[_Places, _Places]:
    """The contents that packed rows point at; what was said counts from 1."""
    made: set[int] = set()
    said: set[int] = set()
    for table in state.packed:
        for bucket in table.buckets:
            for _, _, what, _, judged, _ in ROW.iter_unpack(bucket):
                made.add(what)
                said.add(judged)
    return _places(made), _places(said - {0}, start=1)


def _used(
    state: JoinState, requests: list[Request], made: _Places, said: _Places
) -> tuple[_Places, _Places, _Places]:
    """The models, answers and truths that requests and contents speak of."""
    models, answers, truths = set[int](), set[int](), set[int]()
    for prediction in (one for request in requests for one in request.predictions):
        models.add(prediction.model)
        answers.update(positions(prediction.answers))
    for feedback in (one for request in requests for one in request.feedbacks):
        models.add(feedback.scope)
        truths.update(() if feedback.truth is None else positions(feedback.truth))
    for content in (state.made[number] for number in made):
        models.add(content.model)
        answers.add(content.answer)
    for judgement in (state.said[number - 1] for number in said):
        models.add(judgement.scope)
        truths.update(() if judgement.truth is None else (judgement.truth,))
    return _places(models), _places(answers), _places(truths)


def _places(used: Iterable[int], start: int = 0) -> _Places:
    return {old: new for new, old in enumerate(sorted(used), start)}


def _moved(packed: int | list[int], places: _Places) -> int | list[int]:
    return places[packed] if isinstance(packed, int) else [places[one] for one in packed]
