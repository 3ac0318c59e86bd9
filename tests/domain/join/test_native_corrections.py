"""Corrected feedback is counted natively as in Python, and nearly all of it without Python."""

import random
from typing import Any

import pytest

from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.native import use_native
from processor.domain.quantities import pack_confidence, pack_probabilities
from processor.domain.timestamps import MINUTE
from processor.domain.values import (
    INTEGER,
    LABEL_SET,
    NUMBER,
    SCORES,
    TEXT,
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
    content_digest,
    digest,
    mix,
)
from tests.support.domain.folds import folded, repeating
from tests.support.domain.join_model import Observation

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

_NAMED = Schema(names=("x", "y"))
_SCHEMAS = _NAMED, Schema(names=("x", "y"), by_reward=True), Schema(), Schema(classes=("x", "y"))


def _answer(rng: random.Random, plain: bool) -> tuple[Answer, bytes]:
    """An answer of scores, a label with or without its probability, or another kind."""
    kind, label = rng.randrange(3 if plain else 5), rng.choice("xy")
    if kind == 0:
        first = rng.random()
        packed = pack_probabilities([first, 1 - first])
        return Answer(
            "x" if first > 0.5 else "y", None, SCORES, rng.choice(_SCHEMAS[:2]), 2
        ), packed
    schema = rng.choice(_SCHEMAS[2:])
    if kind == 1:
        return Answer(label, None, TEXT, schema), b""
    if kind == 2:
        return Answer(label, None, TEXT, schema), pack_confidence(rng.random())
    if kind == 3:
        return Answer(None, None, LABEL_SET, Schema(), 0, (label,)), b""
    return Answer(None, "shape", UNSCORABLE, Schema()), b""


def _truth(rng: random.Random, plain: bool) -> Reading:
    if not plain and rng.random() < 0.3:
        other = (
            Reading(UNSCORABLE, "withdrawn"),
            Reading(NUMBER, 2.5),
            Reading(LABEL_SET, ("x", "y")),
        )
        return rng.choice(other)
    return rng.choice(
        (Reading(TEXT, "x"), Reading(TEXT, "y"), Reading(SCORES, 1, 2), Reading(INTEGER, 0))
    )


def _request(rng: random.Random, number: int, plain: bool) -> list[Observation]:
    """A request of one or two predictors, with one to four versions of its feedback in any order."""
    seen: list[Observation] = []
    name = f"r{number}"
    for predictor in ("p", "q")[: 1 if plain else rng.choice((1, 1, 2))]:
        answer, packed = _answer(rng, plain)
        key = ModelKey("n", "d", predictor, "m")
        content = mix(content_digest(answer), packed)
        values = (packed,) if packed else ()
        seen.append(Prediction(key, name, 5, 1, content, (answer,), values=values))
    for _ in range(rng.randrange(1, 5)):
        rewards = (None, 1_000_000, 0, 250_000)
        reward = rng.choice(rewards)
        truth = (_truth(rng, plain),) if plain or reward is None or rng.random() < 0.6 else None
        scope = ModelKey("n", "d", "" if plain else rng.choice(("", "", "p")), "")
        time, rank = rng.randrange(1, 9) * MINUTE, 1 if plain else rng.choice((1, 1, 1, 2))
        content = digest(truth, reward)
        seen.append(Feedback(scope, name, time, rank, content, truth, reward))
    if not plain and rng.random() < 0.3:
        rng.shuffle(seen)
    return seen


@pytest.mark.parametrize("max_cells", [50_000, 60])
def test_corrections_of_every_kind(max_cells: int) -> None:
    rng = random.Random(max_cells)
    seen = [_request(rng, number, plain=False) for number in range(1500)]
    course = repeating(seen, 50, IngestMode.NORMAL)
    slow = folded(course, is_native=False, noted=True)
    assert slow.telemetry.corrections > 100
    assert slow.telemetry.superseded > 300
    assert folded(course, is_native=True, noted=True, max_cells=max_cells) == slow


def test_plain_corrections_need_no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of a feedback that differ in time are all counted natively."""
    rng, course = random.Random(1), []
    for start in range(0, 600, 50):
        seen = list[Observation]()
        for number in range(start, start + 50):
            request, times = _request(rng, number, plain=True), rng.sample(range(1, 99), 4)
            seen += [
                one._replace(time=times.pop() * MINUTE) if isinstance(one, Feedback) else one
                for one in request
            ]
        course.append((seen, IngestMode.NORMAL, 0))
    slow = folded(course, is_native=False, noted=True)
    monkeypatch.delattr(JoinFold, "_apply_feedback")
    assert folded(course, is_native=True, noted=True) == slow
    assert slow.telemetry.corrections > 100


@pytest.mark.parametrize("is_predicted", [True, False])
@pytest.mark.parametrize("minutes", [(2, 5, 3), (5, 2, 7)])
def test_each_version_is_noted_where_it_comes(is_predicted: bool, minutes: tuple[int, ...]) -> None:
    """Also an earlier one, which changes no outcome: versions in batches of their own."""
    answer, key = Answer("x", None, TEXT, Schema()), ModelKey("n", "d", "p", "m")
    seen: list[Observation] = [Prediction(key, "r", 5, 1, content_digest(answer), (answer,))]
    for minute, label in zip(minutes, "xyx", strict=True):
        truth = (Reading(TEXT, label),)
        scope = ModelKey("n", "d", "", "")
        seen.append(Feedback(scope, "r", minute * MINUTE, 1, digest(truth, None), truth, None))
    course = [([one], IngestMode.NORMAL, 0) for one in seen[not is_predicted :]]
    slow = folded(course, is_native=False, noted=True)
    assert bool(slow.judged) == is_predicted
    assert folded(course, is_native=True, noted=True) == slow


def _pair(rng: random.Random, number: int) -> list[Observation]:
    """A prediction of some items with two feedbacks: truths, or a reward alone beside a truth."""
    name, items = f"r{number}", rng.choice((1, 1, 2, 3))
    schema = rng.choice((Schema(), Schema(classes=("x", "y"))))
    answers = tuple(Answer(rng.choice("xyz"), None, TEXT, schema) for _ in range(items))
    bases = [content_digest(answer) for answer in answers]
    content = bases[0] if items == 1 else digest(bases)
    key, scope = ModelKey("n", "d", "p", "m"), ModelKey("n", "d", rng.choice(("", "p", "q")), "")
    seen: list[Observation] = [Prediction(key, name, 5, 1, content, answers)]
    with_truth = [True, rng.random() < 0.3]
    rng.shuffle(with_truth)
    for has_truth, time in zip(with_truth, rng.sample(range(1, 99), 2), strict=True):
        truth = tuple(Reading(TEXT, rng.choice("xyz")) for _ in answers) if has_truth else None
        reward = rng.choice((None, 0, 1_000_000)) if has_truth else rng.choice((0, 1_000_000))
        said = digest(truth, reward)
        seen.append(Feedback(scope, name, time * MINUTE, 1, said, truth, reward))
    return seen


def test_a_reward_beside_a_truth_and_several_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the rewards that name another model, and some items whose sums may be equal, is native."""
    rng, left = random.Random(2), 0
    seen = [_pair(rng, number) for number in range(900)]
    course = repeating(seen, 50, IngestMode.NORMAL)
    slow = folded(course, is_native=False, noted=True)
    general = JoinFold._apply_feedback

    def count(*parts: Any) -> None:
        nonlocal left
        left += 1
        general(*parts)

    monkeypatch.setattr(JoinFold, "_apply_feedback", count)
    assert folded(course, is_native=True, noted=True) == slow
    assert slow.telemetry.corrections > 200
    assert 0 < left < 400
