"""Observations for tests of the join, and a reference model of the counting rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, Outcome, judge
from processor.domain.join.requests.request import positions
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import DeltaBatch, unpack
from processor.domain.log.observations import DOCUMENT, EVENT, Feedback, Prediction
from processor.domain.log.records import decode_delta, encode
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.delays import bucket_of, contribute, contribute_prediction
from processor.domain.statistics.sums import Sum
from processor.domain.timestamps import MINUTE
from processor.domain.values import (
    INTEGER,
    SCORES,
    TEXT,
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
    digest,
)

Observation = Prediction | Feedback
#: Counts by model, basis and minute, without empty ones.
Sums = dict[tuple[ModelKey, int, int], Counts]

NAMED = Schema(names=("x", "y"))
ANSWERS = (
    (Answer("x", None, TEXT, Schema()),),
    (Answer("y", None, TEXT, Schema()),),
    (Answer("x", None, SCORES, NAMED),),
    (Answer(None, "shape", UNSCORABLE, Schema()),),
    (Answer("x", None, TEXT, Schema(by_reward=True)),),
    # A statistic that is not there fails on each item, and its failures are counted.
    (Answer("x", None, TEXT, Schema(statistics=("no.such:Statistic",))),),
    (Answer("x", None, TEXT, Schema()), Answer("y", None, SCORES, NAMED)),
    (Answer("y", None, TEXT, Schema()), Answer("y", None, TEXT, Schema())),
)
TRUTHS = (
    None,
    (Reading(TEXT, "x"),),
    (Reading(INTEGER, 1),),
    (Reading(INTEGER, 7),),
    (Reading(UNSCORABLE, "shape"),),
    (Reading(TEXT, "x"), Reading(SCORES, 1, 2)),
)
REWARDS = (None, 0, 1_000_000, 250_000)
PREDICTORS, NODES = ("default", "canary"), ("a", "b")


class Gauges(NamedTuple):
    """The diagnostics of the join's state."""

    waiting: int
    unmatched: int
    rows_differ: int
    ambiguous: int
    not_scorable: dict[str, int]


def request_name(number: int) -> str:
    """A request id: a UUID, also with a prefix, a short text, or one that is too long for a bucket."""
    uuid = f"0a1b2c3d-0000-4000-8000-{number:012x}"
    if number % 31 == 1:
        return f"{number}-" + "long" * 20
    return (uuid, uuid, f"r{number}", uuid, uuid, f"req-{uuid}")[number % 6]


requests = st.sampled_from([("iris", 0), ("iris", 0), ("iris", 1), ("iris", 2), ("pets", 0)]).map(
    lambda one: (one[0], request_name(one[1]))
)
# Few times in two minutes, so that now and then the digest decides between versions.
times = st.sampled_from([5 * MINUTE, 6 * MINUTE - 1, 6 * MINUTE])


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    deployment, request_id = draw(requests)
    key = ModelKey(
        "seldon", deployment, draw(st.sampled_from(PREDICTORS)), draw(st.sampled_from(NODES))
    )
    answers = draw(st.sampled_from(ANSWERS))
    provisional = draw(st.booleans())
    source_rank = DOCUMENT if provisional else EVENT
    return Prediction(
        key, request_id, draw(times), source_rank, digest(answers), answers, provisional
    )


@st.composite
def feedbacks(draw: st.DrawFn) -> Feedback:
    deployment, request_id = draw(requests)
    scope = ModelKey(
        "seldon",
        deployment,
        draw(st.sampled_from(("", *PREDICTORS))),
        draw(st.sampled_from(("", *NODES))),
    )
    truth = draw(st.sampled_from(TRUTHS))
    reward = draw(st.sampled_from(REWARDS if truth is not None else REWARDS[1:]))
    source_rank = draw(st.sampled_from([DOCUMENT, EVENT]))
    return Feedback(
        scope, request_id, draw(times), source_rank, digest(truth, reward), truth, reward
    )


observations = st.lists(st.one_of(predictions(), feedbacks()), min_size=4, max_size=14)


def expected(seen: Iterable[Observation]) -> tuple[Sums, Gauges]:
    """The sums and diagnostics by counting rules 8 to 12 and 14: all observations of a request at once,
    without registers."""
    by_request: dict[tuple[str, str], list[Observation]] = defaultdict(list)
    for one in seen:
        key = one.model if isinstance(one, Prediction) else one.scope
        by_request[key.deployment, one.request_id].append(one)
    sums: Sums = {}
    waiting = unmatched = rows_differ = ambiguous = 0
    reasons: dict[str, int] = {}
    for group in by_request.values():
        feedbacks = [one for one in group if isinstance(one, Feedback)]
        predictions = [one for one in group if isinstance(one, Prediction)]
        waiting += not feedbacks
        unmatched += not predictions
        final = {one.model.predictor for one in predictions if not one.provisional}
        predictions = [
            one for one in predictions if not one.provisional or one.model.predictor not in final
        ]
        counting = [
            max((one for one in predictions if one.model == model), key=lambda one: one[2:5])
            for model in {one.model for one in predictions}
        ]
        for prediction in counting:
            _add(sums, prediction.model, 0, prediction.time, _predicted(prediction.answers))
            applying = [
                one for one in feedbacks if one.truth is not None or _names(one, prediction)
            ]
            if not applying:
                continue
            # The scope decides between rewards of one version: a name is above no name.
            best = max(applying, key=lambda one: (one[2:5], one.scope))
            if (
                best.truth is None
                and best.scope != prediction.model
                and sum(_names(best, other) for other in counting) > 1
            ):
                ambiguous += 1
                continue
            outcome = judge(prediction.answers, best.truth, best.reward)
            rows_differ += outcome.kind == ROWS_DIFFER
            ambiguous += outcome.kind == AMBIGUOUS
            for reason in outcome.not_scorable:
                reasons[reason] = reasons.get(reason, 0) + 1
            _add(sums, prediction.model, 0, prediction.time, outcome.counts)
            _add(sums, prediction.model, 1, best.time, outcome.counts)
            delays = _delays(outcome, best.time - prediction.time)
            _add(sums, prediction.model, 0, prediction.time, delays)
    return _without_empty(sums), Gauges(waiting, unmatched, rows_differ, ambiguous, reasons)


def _predicted(answers: Sequence[Answer]) -> Counts:
    counts = Counts(len(answers))
    for answer in answers:
        if answer.label is not None:
            contribute_prediction(answer.label, counts.sums)
    return counts


def _delays(outcome: Outcome, delay: int) -> Counts:
    counts = Counts()
    for cell, items in outcome.cells().items():
        contribute(cell, bucket_of(delay), counts.sums, items)
    return counts


def _names(feedback: Feedback, prediction: Prediction) -> bool:
    scope, model = feedback.scope, prediction.model
    return scope.predictor in ("", model.predictor) and scope.model in ("", model.model)


def _add(sums: Sums, model: ModelKey, basis: int, time: int, counts: Counts) -> None:
    sums.setdefault((model, basis, time // MINUTE), Counts()).add(counts)


def _without_empty(sums: Sums) -> Sums:
    return {key: counts for key, counts in sums.items() if not counts.is_empty()}


def unpacked(deltas: Deltas) -> dict[int, DeltaBatch]:
    """The batches of deltas by partition, as they are read back from the log."""
    found = {}
    for partition, batch in deltas.items():
        record = decode_delta(encode(batch))
        assert isinstance(record, DeltaBatch)
        found[partition] = record
    return found


def sums_of(batches: Iterable[DeltaBatch]) -> Sums:
    """The sums of all deltas, as the tally has them, but those of items that were taken back: these
    depend on the order of events."""
    sums: Sums = {}
    for batch in batches:
        for delta in batch.deltas:
            key = (ModelKey(*batch.models[delta.model]), delta.basis, delta.minute)
            counts = unpack(delta, batch.labels)
            counts.sums = {key: n for key, n in counts.sums.items() if key[0] != Sum.RETRACTED}
            sums.setdefault(key, Counts()).add(counts)
    return _without_empty(sums)


def retracted_of(batches: Iterable[DeltaBatch]) -> Counter[tuple[ModelKey, str]]:
    """The items that were taken back, by model and verdict."""
    found: Counter[tuple[ModelKey, str]] = Counter()
    for batch in batches:
        for delta in batch.deltas:
            for (kind, verdict, _), items in unpack(delta, batch.labels).sums.items():
                if kind == Sum.RETRACTED:
                    assert (delta.basis, items > 0) == (0, True)
                    found[ModelKey(*batch.models[delta.model]), verdict] += items
    return found


def sums_in_memory(folds: Iterable[JoinFold]) -> Sums:
    """The sums over the predictions in memory of all folds."""
    sums: Sums = {}
    for fold in folds:
        for prediction, feedback, outcome in fold.joined_predictions():
            model = fold.state.models[prediction.model]
            answers = [fold.state.answers[one] for one in positions(prediction.answers)]
            _add(sums, model, 0, prediction.time, _predicted(answers))
            if feedback is not None and outcome is not None:
                _add(sums, model, 0, prediction.time, outcome.counts)
                _add(sums, model, 1, feedback.time, outcome.counts)
                delays = _delays(outcome, feedback.time - prediction.time)
                _add(sums, model, 0, prediction.time, delays)
    return _without_empty(sums)


def gauges(states: Iterable[JoinState]) -> Gauges:
    """The sums of the diagnostics of all partitions."""
    waiting = unmatched = rows_differ = ambiguous = 0
    reasons: Counter[str] = Counter()
    for state in states:
        waiting += state.waiting
        unmatched += state.unmatched
        rows_differ += state.rows_differ
        ambiguous += state.ambiguous
        reasons.update(state.not_scorable)
    known = {reason: n for reason, n in reasons.items() if n}
    return Gauges(waiting, unmatched, rows_differ, ambiguous, known)
