"""Real models on the data sets of scikit-learn: scores of quantised values within their published bound
of scikit-learn's on the values themselves (counting rules 24 to 29)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import datasets, metrics
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB

from tests.support.domain.value_cases import Arrivals, Request, counts, observations, result

#: Half of a step of q.
HALF = 0.5 / 65535
CLASSIFIERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "iris": (lambda: datasets.load_iris(return_X_y=True), LogisticRegression(max_iter=200)),
    "wine": (lambda: datasets.load_wine(return_X_y=True), GaussianNB()),
    "breast cancer": (lambda: datasets.load_breast_cancer(return_X_y=True), GaussianNB()),
    "digits": (lambda: datasets.load_digits(return_X_y=True), GaussianNB()),
    "moons": (
        lambda: datasets.make_moons(400, noise=0.3, random_state=1),
        LogisticRegression(),
    ),
    "twenty classes": (
        lambda: datasets.make_classification(
            1200, 30, n_informative=20, n_classes=20, n_clusters_per_class=1, random_state=1
        ),
        LogisticRegression(max_iter=200),
    ),
}
REGRESSORS: dict[str, Callable[[], Any]] = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "linnerud": lambda: _first_target(*datasets.load_linnerud(return_X_y=True)),
    "friedman": lambda: datasets.make_friedman1(400, noise=1.0, random_state=1),
    "regression": lambda: datasets.make_regression(400, 8, noise=20.0, random_state=1),
}


def _first_target(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y[:, 0]


def counted(rows: Any, truth: Any, rule: dict[str, Any]) -> dict[str, Any]:
    """The result of one batch and its truth."""
    seen = observations([Request(rows.tolist(), truth.tolist())], rule)
    return result(counts(seen, Arrivals([1, 0], [1])))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name: str) -> None:
    load, model = CLASSIFIERS[name]
    x, y = load()
    x, rest, y, truth = train_test_split(x, y, test_size=0.5, random_state=1, stratify=y)
    p = model.fit(x, y).predict_proba(rest)
    width = p.shape[1]
    found = counted(p, truth, {})
    predicted = p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    # Items whose probabilities are all 0 or 1 are labels alone (rule 24).
    soft = ~np.isin(np.round(p * 65535), (0, 65535)).all(axis=1)
    p, truth, predicted = p[soft], truth[soft], predicted[soft]
    hot = np.eye(width)[truth]
    if width > 16:
        # Only the ten largest are kept; the others are as good as 0.
        left_out = np.argsort(-p, axis=1, kind="stable")[:, 10:]
        np.put_along_axis(p, left_out, 0, axis=1)
    own = p[np.arange(len(p)), truth]
    losses = -np.log(np.maximum(own, HALF))
    bound = np.where(own > 2 * HALF, HALF / np.maximum(own - HALF, HALF), np.log(2))
    assert found["log_loss"] == pytest.approx(losses.mean(), abs=bound.mean() + 1e-6)
    brier = ((p - hot) ** 2)[:, 1:].sum(axis=1) if width == 2 else ((p - hot) ** 2).sum(axis=1)
    assert found["brier_score"] == pytest.approx(brier.mean(), abs=2 * HALF * width)
    for label in range(width if width <= 16 else 0):
        one = found["classes"][str(label)]
        exact = metrics.roc_auc_score(truth == label, p[:, label])
        ties = _bound(truth == label, p[:, label])
        assert one["roc_auc"] == pytest.approx(exact, abs=ties + 1e-9)
    if width == 2:
        exact = metrics.roc_auc_score(truth, p[:, 1])
        assert found["roc_auc"] == pytest.approx(exact, abs=found["roc_auc_error_bound"] + 1e-9)
        assert found["roc_auc_error_bound"] < 0.02
    for k, share in found["top_k_accuracy"].items():
        exact = metrics.top_k_accuracy_score(truth, p, k=int(k), labels=range(width))
        # Of equal q scikit-learn takes the last, the rules the first.
        equal = (np.round(p * 65535) == np.round(own * 65535)[:, None]).sum(axis=1) > 1
        assert share == pytest.approx(exact, abs=equal.mean() + 1e-9)
    sure = p[np.arange(len(p)), predicted]
    gap = abs((predicted == truth).mean() - sure.mean())
    assert gap - 2 * HALF <= found["calibration_error"] <= 1  # the bins can only add to it


def _bound(of: Any, p: Any) -> float:
    """The bound of the AUC's error (rule 26): half of the pairs that share a bin."""
    edges = np.round(65535 / (1 + np.exp(-(np.arange(1, 64) - 32) * 11 / 32)))
    bins = np.searchsorted(edges, np.round(p * 65535), side="right")
    pairs = (bins[of][:, None] == bins[~of][None, :]).mean()
    return float(pairs) / 2


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name: str) -> None:
    x, y = REGRESSORS[name]()
    x, rest, y, truth = train_test_split(x, y, test_size=0.5, random_state=1)
    p = LinearRegression().fit(x, y).predict(rest)
    found = counted(p, truth, {"task": "regression", "tolerance": "10%"})
    step = 1e-6  # each of the two numbers is off by half a unit at most
    errors = np.abs(p - truth)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, p), abs=step)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, p), abs=step)
    assert found["bias"] == pytest.approx((p - truth).mean(), abs=step)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, p), abs=1e-5)
    assert found["correlation"] == pytest.approx(np.corrcoef(p, truth)[0, 1], abs=1e-5)
    assert found["wape"] == pytest.approx(errors.sum() / np.abs(truth).sum(), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mape = metrics.mean_absolute_percentage_error(truth, p)
    assert found["mape"] == pytest.approx(mape, rel=1e-4)
    assert found["within_tolerance"] == pytest.approx((errors <= 0.1 * np.abs(truth)).mean())
    for rank, value in found["absolute_error_quantiles"].items():
        exact = np.quantile(errors, float(rank), method="inverted_cdf")
        assert exact - step <= value <= 1.091 * (exact + step)


def test_label_sets() -> None:
    x, y = datasets.make_multilabel_classification(600, 20, n_classes=6, random_state=1)
    x, rest, y, truth = train_test_split(x, y, test_size=0.5, random_state=1)
    model = MultiOutputClassifier(LogisticRegression(max_iter=300)).fit(x, y)
    p = np.array([one[:, 1] for one in model.predict_proba(rest)]).T
    found = counted(p, truth, {"task": "multilabel"})
    predicted = (p >= 0.5).astype(int)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert found["hamming_loss"] == pytest.approx(metrics.hamming_loss(truth, predicted))
    jaccard = metrics.jaccard_score(truth, predicted, average="samples", zero_division=1)
    assert found["jaccard"] == pytest.approx(jaccard, abs=5e-7)
    for average in ("macro", "micro", "weighted"):
        scores = metrics.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), scores, strict=False):
            assert found[average][name] == pytest.approx(value), (average, name)
