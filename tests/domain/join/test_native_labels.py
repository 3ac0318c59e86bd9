"""Labels and label sets, few and all different, are judged natively as in Python."""

import random
from typing import Any

import pytest

from processor.domain.join import plans
from processor.domain.join.plans import Plan
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.native import use_native
from processor.domain.quantities import pack_confidence
from processor.domain.values import (
    INTEGER,
    LABEL_SET,
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

#: Settings of models whose answers are texts.
_SCHEMAS = (
    Schema(), Schema(by_reward=True), Schema(classes=("label-1", "label-2")), Schema(threshold=0.3),
    Schema(classes=("label-1", "label-2", "label-3")), Schema(statistics=("nowhere:nothing",)),
)  # fmt: skip


def _labelled(rng: random.Random, number: int, pool: int) -> list[Observation]:
    """A prediction of one to three texts, with its feedback but for a few."""

    def text() -> str:
        return f"{rng.choice(('label-', 'Größe ', '3:'))}{rng.randrange(pool)}"

    key = ModelKey("n", "d", "p", f"m{rng.randrange(3)}")
    schema = rng.choice(_SCHEMAS[: 5 + (number % 50 == 0)])
    answers = tuple([Answer(text(), None, TEXT, schema) for _ in range(rng.choice((1, 1, 1, 3)))])
    values = (pack_confidence(rng.random()),) if len(answers) == 1 and rng.random() < 0.3 else ()
    bases = [content_digest(answer) for answer in answers]
    content = mix(bases[0], values[0] if values else b"") if len(answers) == 1 else digest(bases)
    time = 5 + rng.randrange(3) * 10**11
    seen: list[Observation] = [
        Prediction(key, f"r{number}", time, 1, content, answers, values=values)
    ]
    reward = rng.choice((None, None, 1_000_000, 0, 250_000, -3))
    truth: tuple[Reading, ...] | None = None
    if reward is None or rng.random() < 0.7:
        right = rng.random() < 0.5
        labels = [str(answer.label) if right else text() for answer in answers]
        truth = tuple([Reading(TEXT, label) for label in labels])
        if rng.random() < 0.1:
            truth = (rng.choice((Reading(INTEGER, 2), Reading(UNSCORABLE, "shape"))), *truth[1:])
    if rng.random() < 0.9:
        scope = ModelKey("n", "d", "", "")
        content = digest(truth, reward)
        seen.append(Feedback(scope, f"r{number}", time + 10**9, 1, content, truth, reward))
    return seen if rng.random() < 0.8 else seen[::-1]


@pytest.mark.parametrize("pool", [2, 40, 10**9])
@pytest.mark.parametrize("mode", [IngestMode.NORMAL, IngestMode.COUNT_AND_DROP])
def test_any_number_of_labels(pool: int, mode: IngestMode) -> None:
    """Few, many and all different ones, with the limit of outcomes reached and not."""
    rng = random.Random(pool)
    seen = [_labelled(rng, number, pool) for number in range(1500)]
    course = repeating(seen, 90, mode)
    slow = folded(course, is_native=False, noted=True)
    for max_cells in 50_000, 600:
        assert folded(course, is_native=True, noted=True, max_cells=max_cells) == slow


_SET_SCHEMAS = (
    Schema(),
    Schema(names=("l0", "l1", "l2")),
    Schema(names=("l0", "l2"), classes=("x", "", "l3")),
    Schema(classes=("l0", "l1", "l" * 300)),
    Schema(by_reward=True),
)


def _label_set(rng: random.Random, number: int, pool: int) -> list[Observation]:
    """A prediction of one to three label sets, with its feedback but for a few."""

    def labels() -> tuple[str, ...]:
        return tuple(sorted({f"l{rng.randrange(pool)}" for _ in range(rng.randrange(4))}))

    def truth_of(answer: Answer) -> Reading:
        kind = rng.randrange(12)
        if kind == 0:
            return rng.choice((Reading(INTEGER, 2), Reading(UNSCORABLE, "shape")))
        if kind == 1:
            return Reading(TEXT, f"l{rng.randrange(pool)}")
        if kind < 5:
            width = rng.choice((answer.width or 3, answer.width or 3, 3))
            return Reading(LABEL_SET, tuple(range(rng.randrange(width + 1))), width)
        return Reading(LABEL_SET, answer.labels if kind < 8 else labels())

    key = ModelKey("n", "d", "p", f"m{rng.randrange(3)}")
    schema, width = rng.choice(_SET_SCHEMAS), rng.choice((0, 3, 3))
    answers = tuple(
        [
            Answer(None, None, LABEL_SET, schema, width, labels())
            for _ in range(rng.choice((1, 1, 1, 3)))
        ]
    )
    bases = [content_digest(answer) for answer in answers]
    content = bases[0] if len(answers) == 1 else digest(bases)
    seen: list[Observation] = [Prediction(key, f"r{number}", 5, 1, content, answers)]
    reward = rng.choice((None, None, 1_000_000, 0, 250_000))
    truth: tuple[Reading, ...] | None = None
    if reward is None or rng.random() < 0.7:
        truth = tuple([truth_of(answer) for answer in answers])
    if rng.random() < 0.9:
        scope, content = ModelKey("n", "d", "", ""), digest(truth, reward)
        seen.append(Feedback(scope, f"r{number}", 10**9, 1, content, truth, reward))
    return seen if rng.random() < 0.8 else seen[::-1]


@pytest.mark.parametrize("pool", [2, 5, 10**9])
@pytest.mark.parametrize("mode", [IngestMode.NORMAL, IngestMode.COUNT_AND_DROP])
def test_any_label_sets(pool: int, mode: IngestMode) -> None:
    """Few, many and all different ones, with the limit of outcomes reached and not."""
    rng = random.Random(pool)
    seen = [_label_set(rng, number, pool) for number in range(1500)]
    course = repeating(seen, 90, mode)
    slow = folded(course, is_native=False, noted=True)
    for max_cells in 50_000, 600:
        assert folded(course, is_native=True, noted=True, max_cells=max_cells) == slow


@pytest.mark.parametrize("is_set", [False, True], ids=["labels", "sets"])
def test_python_is_not_asked_of_each_label(is_set: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def label_plan(*parts: Any) -> Plan:
        nonlocal asked
        asked += 1
        return plans.label_plan(*parts)

    monkeypatch.setattr("processor.domain.join.native_fast_path.label_plan", label_plan)
    key, scope, seen = ModelKey("n", "d", "p", "m"), ModelKey("n", "d", "", ""), list[Observation]()
    for number in range(2000):
        answer, truth = Answer(f"a{number}", None, TEXT, Schema()), (Reading(TEXT, f"b{number}"),)
        if is_set:
            answer = Answer(None, None, LABEL_SET, Schema(), labels=(f"a{number}", "c"))
            truth = (Reading(LABEL_SET, (f"b{number}", "c")),)
        name = f"r{number}"
        seen.append(Prediction(key, name, 5, 1, content_digest(answer), (answer,)))
        seen.append(Feedback(scope, name, 6, 1, digest(truth, None), truth, None))
    fast = folded([(seen, IngestMode.NORMAL, 0)], is_native=True, noted=False)
    assert fast.telemetry.joined == 2000
    assert asked == 1
