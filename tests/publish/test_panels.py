"""The parts of a result that are shown: bars of errors, thresholds."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.results import ErrorBucket, ModelResult, ThresholdResult, model_result
from processor.domain.statistics.counts import Counts
from processor.domain.values import PROBABILITY
from processor.publish.panels import (
    Parts,
    at_threshold,
    decided_items,
    error_bars,
    shown_thresholds,
)
from processor.publish.terms import TERMS, terms_of
from tests.support.valued_counts import probable_counts, probable_items, set_counts

KEY = ModelKey("shop", "pets", "default", "clf")


def result(**fields: object) -> ModelResult:
    return msgspec.structs.replace(model_result(KEY, Counts(), "request"), **fields)


@given(
    st.dictionaries(
        st.one_of(st.just(0.0), st.floats(1e-12, 1e18)), st.integers(1, 10**6), min_size=1
    )
)
def test_bars_hold_every_error(errors: dict[float, int]) -> None:
    histogram = tuple(ErrorBucket(edge, n) for edge, n in sorted(errors.items()))
    bars = error_bars(result(error_histogram=histogram))
    assert sum(each.items for each in bars) == sum(errors.values())
    assert len(bars) <= 31
    edges = [each.up_to for each in bars]
    assert edges == sorted(edges)
    assert edges[-1] == max(errors)


def test_thresholds_are_about_ten_with_the_best() -> None:
    rows = tuple(ThresholdResult(i / 64, 0.5, 1 - i / 64, 0.5, i / 64) for i in range(64))
    model = result(thresholds=rows, threshold=0.5, best_threshold=63 / 64)
    shown = shown_thresholds(model)
    assert 9 <= len(shown) <= 12
    assert [each.scores.threshold for each in shown if each.best] == [63 / 64]
    assert [each.scores.threshold for each in shown if each.current] == [0.5]
    assert at_threshold(model, 0.99) is None
    # Another threshold of the models file is a row of its own, the next one at which an item is.
    shown = shown_thresholds(result(thresholds=rows, threshold=0.33, best_threshold=63 / 64))
    assert [each.scores.threshold for each in shown if each.current] == [22 / 64]
    beyond = shown_thresholds(result(thresholds=rows, threshold=0.99))
    assert not any(each.current for each in beyond)
    assert shown_thresholds(result()) == ()


def test_the_threshold_is_that_of_the_models_file_where_one_decides() -> None:
    items, names = probable_items(2, 50), ("stays", "leaves")
    counts = probable_counts(items, names, PROBABILITY)
    rules = ModelRules([Rule("shop/pets", threshold=0.8)])
    assert model_result(KEY, counts, "request", rules).threshold == 0.8
    assert model_result(KEY, counts, "request").threshold == 0.5
    pairs = probable_counts(items, names)
    assert model_result(KEY, pairs, "request", rules).threshold is None
    sets = set_counts([(frozenset({"a"}), frozenset({"b"}))])
    assert model_result(KEY, sets, "request", rules).threshold == 0.8
    three = probable_counts(probable_items(3, 50), ("a", "b", "c"))
    assert model_result(KEY, three, "request", rules).threshold is None


def test_each_task_has_terms_of_its_own() -> None:
    labels = dict(terms_of(Parts(labels=True, probabilities=False, numbers=False, sets=False)))
    numbers = dict(terms_of(Parts(labels=False, probabilities=False, numbers=True, sets=False)))
    assert "Accuracy" in labels
    assert "RMSE" not in labels
    assert "RMSE" in numbers
    assert "recall" not in numbers
    assert labels.items() | numbers.items() <= TERMS.items()
    assert all(re.fullmatch(r"[A-Z].*\.", text) for text in TERMS.values())


def test_decided_items_are_those_of_the_accuracy() -> None:
    assert decided_items(result(judged=10, accuracy=0.3, correct=3)) == 10
    assert decided_items(result(judged=10, measured=4, accuracy=0.5, correct=3)) == 6
    assert decided_items(result(judged=10, measured=4, accuracy=0.0, correct=0)) == 6
    assert decided_items(result(judged=4, measured=4, accuracy=None)) == 0
    assert decided_items(result(judged=4, measured=4, accuracy=0.0, within_tolerance=0.0)) == 4
