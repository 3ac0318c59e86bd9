"""Every score of probabilities, numbers and label sets, through the log, the join and the tally, against
scikit-learn, numpy and fractions on the items (counting rules 24 to 29)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from processor.domain.interpreter import interpret
from processor.domain.log.observations import EVENT, Feedback
from processor.domain.row_reader import read_row
from processor.domain.values import TEXT, Labelled, Schema, content_digest, digest, mix
from processor.domain.values import Reading as Row
from tests.support.domain.value_cases import (
    MODEL,
    Arrivals,
    Observation,
    Request,
    arrivals,
    counts,
    flat,
    observations,
    prediction,
    result,
)
from tests.support.log_format_fixture import BEGIN
from tests.support.oracle import value_scores
from tests.support.oracle.value_scores import LabelSet, Number, Probabilities, in_units, kept


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the fields of a result with those that are expected, floats to 1e-9."""
    one = dict(flat({name: found[name] for name in expected}))
    other = dict(flat(expected))
    assert one.keys() == other.keys()
    for path, value in other.items():
        if isinstance(value, float):
            bound = 1e-6 if path == "/log_loss" else 1e-9
            assert one[path] == pytest.approx(value, rel=1e-9, abs=bound), path
        else:
            assert one[path] == value, path


# Probabilities


@st.composite
def probability_rows(draw: st.DrawFn, width: int) -> list[float]:
    weights = draw(
        st.lists(st.sampled_from((0, 0, 1, 2, 5, 30, 1000)), min_size=width, max_size=width)
    )
    weights[draw(st.integers(0, width - 1))] += 3
    return [weight / sum(weights) for weight in weights]


@st.composite
def of_classes(draw: st.DrawFn) -> tuple[list[Request], dict[str, Any], list[Probabilities]]:
    """Requests with scores of 2, 3 or 20 classes, named by the message, by the models file or not."""
    width = draw(st.sampled_from([2, 3, 20]))
    named = tuple(f"class {i}" for i in range(width))
    naming = draw(st.sampled_from(["message", "classes", "positions"]))
    names = tuple(map(str, range(width))) if naming == "positions" else named
    rule = {"classes": list(named)} if naming == "classes" else {}
    requests, items = [], []
    truths = st.sampled_from([*names, "ghost"])
    for _ in range(draw(st.integers(1, 8))):
        rows = draw(st.lists(probability_rows(width), min_size=1, max_size=3))
        truth = draw(st.lists(truths, min_size=len(rows), max_size=len(rows)))
        before = draw(st.none() | st.lists(truths, min_size=len(rows), max_size=len(rows)))
        requests.append(Request(rows, truth, before, names if naming == "message" else None))
        for row, actual in zip(rows, truth, strict=True):
            if len(set(row)) > 1 and kept(row):
                items.append(Probabilities(names, kept(row), names[row.index(max(row))], actual))
    return requests, rule, items


@given(st.data())
def test_scores_of_classes(data: st.DataObject) -> None:
    requests, rule, items = data.draw(of_classes())
    seen = observations(requests, rule)
    found = result(counts(seen, data.draw(arrivals(len(seen)))))
    compare(found, value_scores.probability_scores(items))
    for label, (of, bins) in value_scores.by_class(items).items():
        if label in found["classes"]:
            curve = value_scores.curve(of, bins)
            for name in ("roc_auc", "average_precision"):
                assert found["classes"][label][name] == pytest.approx(curve[name], abs=1e-9)
    compare_with_scikit_learn(found, items)


def compare_with_scikit_learn(found: dict[str, Any], items: Sequence[Probabilities]) -> None:
    """Where scikit-learn defines it: no actual outside the names, and no class that was not kept."""
    inside = [item for item in items if item.actual in item.names]
    if len(inside) < len(items) or not items or len(items[0].names) > 16:
        return
    names = items[0].names
    q = np.array([[item.q[i] for i in range(len(names))] for item in items]) / value_scores.ONE
    y = np.array([names.index(item.actual) for item in items])
    hot = np.eye(len(names))[y]
    brier = (
        metrics.brier_score_loss(y, q[:, 1], pos_label=1)
        if len(names) == 2
        else sum(metrics.mean_squared_error(hot[:, i], q[:, i]) for i in range(len(names)))
    )
    assert found["brier_score"] == pytest.approx(brier, abs=1e-9)
    if all(len(set(row)) == len(names) for row in q.tolist()):
        for k, share in found["top_k_accuracy"].items():
            expected = metrics.top_k_accuracy_score(y, q, k=int(k), labels=range(len(names)))
            assert share == pytest.approx(expected, abs=1e-9)
        assert found["reciprocal_rank"] == pytest.approx(
            metrics.label_ranking_average_precision_score(hot, q), abs=1e-9
        )


@given(st.data())
def test_a_probability_of_two(data: st.DataObject) -> None:
    """A number from 0 to 1 is the pair (1 - p, p); a threshold changes the label, and nothing else."""
    draw = data.draw
    classes = draw(st.none() | st.just(["no", "yes"]))
    threshold = draw(st.sampled_from([0.5, 0.3, 0.9]))
    rule = {"threshold": threshold} | ({} if classes is None else {"classes": classes})
    names = ("0", "1") if classes is None else ("no", "yes")
    number = st.floats(0, 1, exclude_min=classes is None, exclude_max=classes is None)
    requests, items = [], []
    for _ in range(draw(st.integers(1, 8))):
        p, truth = draw(number), draw(st.integers(0, 1))
        requests.append(Request([p], [truth], [1 - truth] if draw(st.booleans()) else None))
        q = {0: value_scores.quantized(1 - Fraction(p)), 1: value_scores.quantized(p)}
        if not set(q.values()) <= {0, value_scores.ONE}:
            # The result has no models file, so that its threshold is one half.
            items.append(Probabilities(names, q, names[p >= threshold], names[truth], 0.5))
    seen = observations(requests, rule)
    found = result(counts(seen, draw(arrivals(len(seen)))))
    compare(found, value_scores.probability_scores(items))
    compare_with_scikit_learn(found, items)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=10), st.data())
def test_a_confidence_alone(said: list[tuple[float, bool]], data: st.DataObject) -> None:
    """It is calibrated, and has no other score."""
    seen: list[Observation] = []
    items = []
    for number, (confidence, right) in enumerate(said):
        answer, packed = interpret(read_row(Labelled("cat", confidence)), Schema())
        if not packed:
            assert value_scores.quantized(confidence) in (0, value_scores.ONE)
            continue
        content = mix(content_digest(answer), packed)
        seen.append(prediction(number, answer, packed, content))
        truth = (Row(TEXT, "cat" if right else "dog"),)
        seen.append(Feedback(MODEL, f"r-{number}", BEGIN, EVENT, digest(truth), truth, None))
        q = {0: value_scores.quantized(confidence)}
        items.append(Probabilities((), q, "cat", "cat" if right else "dog"))
    found = result(counts(seen, data.draw(arrivals(len(seen)))))
    compare(found, value_scores.probability_scores(items))
    assert found["roc_auc"] is found["brier_score"] is found["log_loss"] is None
    assert found["judged"] == len(items)


# Numbers

numbers = st.one_of(
    st.floats(-1000, 1000),
    st.sampled_from([0, 1, -1, 0.5, 2.5e-7, 0.125, 1e11, -1e11, 1234567]),
    st.integers(-10, 10),
)


@given(st.data())
def test_numbers(data: st.DataObject) -> None:
    draw = data.draw
    unit = draw(st.sampled_from([-6, -6, -2, 0, 3]))
    # A coarse unit cannot tell a fine tolerance.
    fine = [0.5, 20] if unit < 0 else [20 * 10**unit]
    tolerance = draw(st.sampled_from([None, 0, *fine, "10%", "0.5%"]))
    rule: dict[str, Any] = {"task": "regression"}
    rule |= {} if unit == -6 else {"unit": float(f"1e{unit}")}
    rule |= {} if tolerance is None else {"tolerance": tolerance}
    requests, items = [], []
    for _ in range(draw(st.integers(1, 8))):
        rows = draw(st.lists(numbers, min_size=1, max_size=3))
        truth = draw(st.lists(numbers, min_size=len(rows), max_size=len(rows)))
        before = draw(st.none() | st.lists(numbers, min_size=len(rows), max_size=len(rows)))
        requests.append(Request(rows, truth, before))
        for pair in zip(rows, truth, strict=True):
            p, y = (in_units(number, unit) for number in pair)
            assert p is not None
            assert y is not None
            items.append(Number(p, y, unit, tolerance))
    seen = observations(requests, rule)
    found = result(counts(seen, draw(arrivals(len(seen)))))
    expected = value_scores.number_scores(items)
    compare(found, expected)
    assert found["measured"] == found["judged"] == len(items)
    assert found["correct"] == sum(bool(item.within) for item in items)
    assert found["accuracy"] == expected["within_tolerance"]
    assert found["task"] == "regression"
    compare_numbers(found, items)


def compare_numbers(found: dict[str, Any], items: Sequence[Number]) -> None:
    """Compare with scikit-learn and numpy, which compute in doubles."""
    size = 10.0 ** items[0].unit
    p, y = (np.array(side) * size for side in zip(*[item[:2] for item in items], strict=True))
    largest = max(np.abs(p).max(), np.abs(y).max(), size)
    mae = metrics.mean_absolute_error(y, p)
    assert found["mae"] == pytest.approx(mae, rel=1e-9, abs=1e-9 * largest)
    rmse = metrics.root_mean_squared_error(y, p)
    assert found["rmse"] == pytest.approx(rmse, rel=1e-9, abs=1e-9 * largest)
    assert found["bias"] == pytest.approx(np.mean(p - y), rel=1e-9, abs=1e-9 * largest)
    if found["r2"] is not None and y.std() > 1e-3 * largest:
        assert found["r2"] == pytest.approx(metrics.r2_score(y, p), rel=1e-6, abs=1e-6)
        if p.std() > 1e-3 * largest:
            correlation = np.corrcoef(p, y)[0, 1]
            assert found["correlation"] == pytest.approx(correlation, rel=1e-6, abs=1e-6)


def test_numbers_of_several_units() -> None:
    """After a change of the models file, all are added in the finest unit."""
    seen = observations([Request([2.5], [1]), Request([7], [9])], {"task": "regression"})
    coarse = observations(
        [Request([2.4], [1])] * 3, {"task": "regression", "unit": 0.1, "tolerance": 2}
    )[-2:]
    total = counts([*seen, *coarse], Arrivals([*range(6)], [1]))
    items = [
        *[Number(2_500_000, 1_000_000), Number(7_000_000, 9_000_000)],
        Number(24, 10, -1, 2),
    ]
    compare(result(total), value_scores.number_scores(items))
    assert result(total)["accuracy"] == 1


# Label sets


@given(st.data())
def test_label_sets(data: st.DataObject) -> None:
    draw = data.draw
    names = ["a", "b", "c"]
    sets = st.frozensets(st.sampled_from(names))
    as_list = draw(st.booleans())
    requests, items = [], []
    for _ in range(draw(st.integers(1, 10))):
        predicted, actual, before = draw(sets), draw(sets), draw(st.none() | sets)
        rows = [
            sorted(one) * 2 if as_list else [int(name in one) for name in names]
            for one in (predicted, actual, *([] if before is None else [before]))
        ]
        requests.append(Request([rows[0]], [rows[1]], None if before is None else [rows[2]]))
        items.append(LabelSet(predicted, actual))
    seen = observations(requests, {"task": "multilabel", "classes": names})
    found = result(counts(seen, draw(arrivals(len(seen)))))
    compare(found, value_scores.set_scores(items))
    assert found["task"] == "multilabel"
    assert found["judged"] == len(items)
    assert found["accuracy"] == found["exact_match"] == found["correct"] / len(items)
    classes = value_scores.set_classes(items)
    for label, scores in classes.items():
        for name, value in scores.items():
            assert found["classes"][label][name] == pytest.approx(value, abs=1e-9)
    assert found["classes"].keys() == classes.keys()
    if len(classes) < 2:  # scikit-learn takes one column for two classes
        return
    y, p = value_scores.indicators(items, sorted(classes))
    for average in ("macro", "micro", "weighted"):
        expected = metrics.precision_recall_fscore_support(y, p, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            one = found[average][name]
            if one is None:
                # No label has an actual item to weigh it by, or none defines the score.
                unweighted = average == "weighted" and not y.any()
                assert unweighted or all(label[name] is None for label in classes.values())
            else:
                assert one == pytest.approx(value, abs=1e-9), average
