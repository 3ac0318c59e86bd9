"""Remove names, labels and contents that no request in memory refers to.

The tables of a state only grow while the join runs, since its rows point into them: a client that sends
a new name or label with every message makes them grow without end. Positions have no meaning outside of
a state, so a vacuum changes no delta, whenever it happens.
"""

from collections.abc import Iterable

from processor.domain.join.packed_table import ROW
from processor.domain.join.state import JoinState, Request, positions

#: A state with so many entries in its tables (some 50 MB) is worth a look at every request.
MIN_ENTRIES = 50_000

#: New positions in a table by the old ones.
_NewPositions = dict[int, int]


def is_worth_vacuuming(state: JoinState) -> bool:
    """Whether the tables of a state are so large that a vacuum pays."""
    names = len(state.models) + len(state.answers) + len(state.truths)
    return names + len(state.prediction_contents) + len(state.feedback_contents) >= MIN_ENTRIES


def vacuum(state: JoinState) -> _NewPositions:
    """Remove unused entries from the tables of a state, which no fold may use yet. Returns the new
    positions of the remaining deployments by the old ones."""
    requests = [request for objects in state.object_requests for request in objects.values()]
    prediction_ids, feedback_ids = _used_by_rows(state)
    models, answers, truths = _used(state, requests, prediction_ids, feedback_ids)
    deployments = _renumber(
        number
        for number, objects in enumerate(state.object_requests)
        if objects or state.packed_requests[number].count
    )
    state.prediction_contents = [
        one._replace(model=models[one.model], answer=answers[one.answer])
        for one in (state.prediction_contents[number] for number in prediction_ids)
    ]
    state.feedback_contents = [
        one._replace(
            scope=models[one.scope], truth=None if one.truth is None else truths[one.truth]
        )
        for one in (state.feedback_contents[number - 1] for number in feedback_ids)
    ]
    for request in requests:
        for prediction in request.predictions:
            prediction.model = models[prediction.model]
            prediction.answers = _moved(prediction.answers, answers)
        for feedback in request.feedbacks:
            feedback.scope = models[feedback.scope]
            if feedback.truth is not None:
                feedback.truth = _moved(feedback.truth, truths)
    for table in state.packed_requests:
        for bucket in table.buckets:
            size = table.size
            for at in range(0, len(bucket), size):
                fields = list(ROW.unpack_from(bucket, at))
                fields[2] = prediction_ids[fields[2]]
                fields[4] = feedback_ids[fields[4]] if fields[4] else 0
                ROW.pack_into(bucket, at, *fields)
    state.models = [state.models[number] for number in models]
    state.answers = [state.answers[number] for number in answers]
    state.truths = [state.truths[number] for number in truths]
    state.deployments = [state.deployments[number] for number in deployments]
    state.packed_requests = [state.packed_requests[number] for number in deployments]
    state.object_requests = [state.object_requests[number] for number in deployments]
    return deployments


def _used_by_rows(state: JoinState) -> tuple[_NewPositions, _NewPositions]:
    """The contents that packed rows point at; ids of feedback contents count from 1."""
    prediction_ids: set[int] = set()
    feedback_ids: set[int] = set()
    for table in state.packed_requests:
        for bucket in table.buckets:
            for row in table.iter_bucket(bucket):
                prediction_ids.add(row.prediction_id)
                feedback_ids.add(row.feedback_id)
    return _renumber(prediction_ids), _renumber(feedback_ids - {0}, start=1)


def _used(
    state: JoinState,
    requests: list[Request],
    prediction_ids: _NewPositions,
    feedback_ids: _NewPositions,
) -> tuple[_NewPositions, _NewPositions, _NewPositions]:
    """The models, answers and truths that requests and contents refer to."""
    models, answers, truths = set[int](), set[int](), set[int]()
    for prediction in (one for request in requests for one in request.predictions):
        models.add(prediction.model)
        answers.update(positions(prediction.answers))
    for feedback in (one for request in requests for one in request.feedbacks):
        models.add(feedback.scope)
        truths.update(() if feedback.truth is None else positions(feedback.truth))
    for content in (state.prediction_contents[number] for number in prediction_ids):
        models.add(content.model)
        answers.add(content.answer)
    for judgement in (state.feedback_contents[number - 1] for number in feedback_ids):
        models.add(judgement.scope)
        truths.update(() if judgement.truth is None else (judgement.truth,))
    return _renumber(models), _renumber(answers), _renumber(truths)


def _renumber(used: Iterable[int], start: int = 0) -> _NewPositions:
    return {old: new for new, old in enumerate(sorted(used), start)}


def _moved(packed: int | list[int], new_positions: _NewPositions) -> int | list[int]:
    return (
        new_positions[packed] if isinstance(packed, int) else [new_positions[one] for one in packed]
    )
