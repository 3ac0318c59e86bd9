"""The metrics of probabilities, numbers and label sets, against scikit-learn and numpy."""

import subprocess
from random import Random

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

from processor.domain.model_key import ModelKey
from processor.domain.quantities import quantize
from processor.domain.results import model_result
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.probabilities import bin_of
from processor.errors import SettingsError
from processor.publish import alert_families
from processor.publish.cardinality import cap_result
from processor.publish.estimates import families as estimate_families
from processor.publish.families import FAMILIES
from processor.setting_values import METRIC_GROUPS
from processor.settings import Settings
from tests.support.fakes import EXPERIMENT, NOW, FakeCounts, experiment_counts
from tests.support.model_collector import ModelCollector
from tests.support.scrape_parser import Series, collected, exposed, model, parse_openmetrics, values
from tests.support.valued_counts import (
    Probable,
    number_counts,
    probable_counts,
    probable_items,
    set_counts,
)

KEY = EXPERIMENT
CURVES = ("model_roc_auc", "model_roc_auc_error_bound", "model_average_precision")


def scraped(counts: Counts, settings: Settings | None = None) -> dict[Series, float]:
    return collected(FakeCounts({KEY: counts}, names=("all",)), settings)


def families_of(series: dict[Series, float]) -> set[str]:
    return {name for name, _ in series if name.startswith("model_")}


def quantized(items: list[Probable]) -> np.ndarray:
    return np.array([[quantize(score) / 65535 for score in item.scores] for item in items])


def number_pairs(number: int) -> list[tuple[float, float]]:
    random = Random(3)
    truths = [random.gauss(20, 30) for _ in range(number)]
    return [(truth + random.gauss(1, 5), truth) for truth in truths]


def set_pairs(number: int, labels: str) -> list[tuple[frozenset[str], frozenset[str]]]:
    random = Random(4)

    def some() -> frozenset[str]:
        return frozenset(label for label in labels if random.random() < 0.3)

    return [(some(), some()) for _ in range(number)]


def valued_models() -> dict[ModelKey, Counts]:
    """A model of each kind."""
    mixed = experiment_counts()
    mixed.add(number_counts(number_pairs(30), (4_000_000, -1)))
    kinds = {
        "two": probable_counts(probable_items(2, 80), ("no", "yes")),
        "three": probable_counts(probable_items(3, 80), ("a", 'b"', "c")),
        "numbers": number_counts(number_pairs(80)),
        "sets": set_counts(set_pairs(80, "abcde")),
        "mixed": mixed,
    }
    return {KEY._replace(model=name): counts for name, counts in kinds.items()}


def test_probabilities_of_three_classes() -> None:
    names = ("a", "b", "c")
    items = probable_items(3, 400)
    series = scraped(probable_counts(items, names))
    p, y = quantized(items), np.array([item.actual for item in items])
    own = np.eye(3)[y]

    def value(name: str, **own_labels: str) -> float:
        return series[model(name, KEY, **own_labels)]

    assert value("model_brier_score") == pytest.approx(
        ((p - own) ** 2).sum(axis=1).mean(), abs=1e-9
    )
    losses = -np.log(np.maximum(p, 0.5 / 65535)[np.arange(len(y)), y])
    assert value("model_log_loss") == pytest.approx(losses.mean(), abs=1e-6)
    for k in (2,):
        score = metrics.top_k_accuracy_score(y, p, k=k)
        assert value("model_top_k_accuracy_ratio", k=str(k)) == pytest.approx(score, abs=1e-9)
    assert model("model_top_k_accuracy_ratio", KEY, k="3") not in series
    ranks = 1 + (p > p[np.arange(len(y)), y][:, None]).sum(axis=1)
    assert value("model_reciprocal_rank_mean") == pytest.approx((1 / ranks).mean(), abs=1e-9)
    top, right = p.max(axis=1), p.argmax(axis=1) == y
    bins = np.array([bin_of(round(q * 65535)) for q in top])
    gap = sum(abs(right[bins == b].sum() - top[bins == b].sum()) for b in set(bins))
    assert value("model_calibration_error_ratio") == pytest.approx(gap / len(y), abs=1e-9)
    for index, name in enumerate(names):
        binned = [bin_of(round(q * 65535)) for q in p[:, index]]
        auc = metrics.roc_auc_score(y == index, binned)
        assert value("model_roc_auc", class_=name) == pytest.approx(auc, abs=1e-9)
        exact = metrics.roc_auc_score(y == index, p[:, index])
        assert abs(auc - exact) <= value("model_roc_auc_error_bound", class_=name) + 1e-12
        average = metrics.average_precision_score(y == index, binned)
        assert value("model_average_precision", class_=name) == pytest.approx(average, abs=1e-9)
    assert all(model(name, KEY) not in series for name in CURVES)


def test_probabilities_of_two_classes_are_those_of_the_second_and_have_no_class() -> None:
    items = probable_items(2, 300)
    counts = probable_counts(items, ("yes", "no"))
    series = scraped(counts)
    p, y = quantized(items)[:, 1], np.array([item.actual for item in items])
    brier = metrics.brier_score_loss(y, p)
    assert series[model("model_brier_score", KEY)] == pytest.approx(brier, abs=1e-9)
    auc = metrics.roc_auc_score(y, [bin_of(round(q * 65535)) for q in p])
    assert series[model("model_roc_auc", KEY)] == pytest.approx(auc, abs=1e-9)
    assert 'class="' not in "".join(
        line for line in exposed(FakeCounts({KEY: counts}), Settings()).splitlines()
        if line.startswith(CURVES)
    )  # fmt: skip


def test_numbers() -> None:
    pairs = number_pairs(200)
    series = scraped(number_counts(pairs, (4_000_000, -1)))
    p, y = (np.array([round(x, 6) for x in column]) for column in zip(*pairs, strict=True))
    errors = np.abs(p - y)
    half = 1.959963984540054 * errors.std(ddof=1) / np.sqrt(len(y))
    expected = {
        "model_measured": 200,
        "model_error_mean": (p - y).mean(),
        "model_absolute_error_mean": metrics.mean_absolute_error(y, p),
        "model_absolute_error_mean_low": errors.mean() - half,
        "model_absolute_error_mean_high": errors.mean() + half,
        "model_error_root_mean_square": metrics.root_mean_squared_error(y, p),
        "model_r_squared": metrics.r2_score(y, p),
        "model_correlation": np.corrcoef(y, p)[0, 1],
        "model_weighted_absolute_percentage_error_ratio": errors.sum() / np.abs(y).sum(),
        "model_within_tolerance_ratio": (errors <= 4).mean(),
        "model_accuracy_ratio": (errors <= 4).mean(),
        "model_actual_mean": y.mean(),
        "model_predicted_mean": p.mean(),
    }
    for name, value in expected.items():
        assert series[model(name, KEY)] == pytest.approx(value, rel=1e-9), name
    percentage = metrics.mean_absolute_percentage_error(y, p)
    found = series[model("model_absolute_percentage_error_ratio", KEY)]
    assert found == pytest.approx(percentage, abs=1e-6)
    for rank in ("0.5", "0.9", "0.95", "0.99"):
        exact = np.quantile(errors, float(rank), method="inverted_cdf")
        bound = series[model("model_absolute_error_bound", KEY, rank=rank)]
        assert exact <= bound <= 1.091 * exact


def test_label_sets() -> None:
    pairs = set_pairs(150, "abcd")
    series = scraped(set_counts(pairs))
    binarizer = MultiLabelBinarizer().fit(["abcd"])
    p, y = (binarizer.transform(column) for column in zip(*pairs, strict=True))
    empty = np.array([not (a | b) for a, b in pairs])
    jaccard = metrics.jaccard_score(y[~empty], p[~empty], average="samples", zero_division=1)
    expected = {
        "model_exact_match_ratio": metrics.accuracy_score(y, p),
        "model_accuracy_ratio": metrics.accuracy_score(y, p),
        "model_hamming_loss_ratio": metrics.hamming_loss(y, p),
    }
    for average in ("macro", "micro", "weighted"):
        scores = metrics.precision_recall_fscore_support(y, p, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), scores, strict=False):
            expected[f"model_{name}_{average}_ratio"] = value
    for name, value in expected.items():
        assert series[model(name, KEY)] == pytest.approx(value, abs=1e-9), name
    mean = (jaccard * (~empty).sum() + empty.sum()) / len(pairs)
    assert series[model("model_jaccard_mean", KEY)] == pytest.approx(mean, abs=1e-6)
    each = metrics.precision_recall_fscore_support(y, p, zero_division=0)
    for index, label in enumerate("abcd"):
        for name, column in zip(("precision", "recall", "f1"), each, strict=False):
            found = series[model(f"model_{name}_ratio", KEY, class_=label)]
            assert found == pytest.approx(column[index], abs=1e-9)
    assert not {"model_mcc", "model_confusion_cells"} & families_of(series)


def test_what_is_undefined_has_no_sample() -> None:
    one_class = [item._replace(actual=1) for item in probable_items(2, 9)]
    series = scraped(probable_counts(one_class, ("a", "b")))
    assert not {"model_roc_auc", "model_roc_auc_error_bound"} & families_of(series)
    assert model("model_average_precision", KEY) in series
    absent = families_of(scraped(number_counts([(1.0, 1.0), (0.0, 0.0)]))) - families_of(
        scraped(number_counts([(2.0, 0.0)]))
    )
    assert absent >= {
        "model_absolute_error_mean_low",
        "model_r_squared",
        "model_correlation",
        "model_absolute_percentage_error_ratio",
    }
    series = scraped(number_counts([(2.0, 0.0)]))
    # Without a tolerance a number is neither right nor wrong.
    assert not {"model_accuracy_ratio", "model_within_tolerance_ratio"} & families_of(series)
    assert not {name for name in families_of(scraped(experiment_counts())) if "error" in name}


def test_every_family_has_samples_of_some_model() -> None:
    names = {name for name, _ in collected(FakeCounts(valued_models()))}
    # Those have tests of their own.
    others = {family.name for family in (*estimate_families.FAMILIES, *alert_families.FAMILIES)}
    assert {family.name for family in FAMILIES} - others <= names


def test_the_classes_of_curves_are_limited() -> None:
    counts = probable_counts(probable_items(5, 200), tuple("vwxyz"))
    series = scraped(counts, Settings(max_classes=2))
    shown = {
        name: {dict(labels)["class"] for each, labels in series if each == name}
        for name in ("model_precision_ratio", *CURVES)
    }
    assert len(shown["model_roc_auc"]) == 2
    assert all(classes == shown["model_roc_auc"] for classes in shown.values())
    assert series["processor_capped_labels", frozenset()] == 3


def test_the_labels_of_sets_are_limited_to_the_largest_in_metrics_and_json() -> None:
    pairs = [(frozenset("z"), frozenset("ab"))] * 5 + [(frozenset("ya"), frozenset("ya"))] * 3
    counts = set_counts(pairs)
    series = scraped(counts, Settings(max_classes=2))
    found = {dict(labels)["class"] for name, labels in series if name == "model_f1_ratio"}
    # Of a, b, y and z 11, 5, 6 and 5 were predicted or actual.
    assert found == {"a", "y"}
    capped = cap_result(model_result(KEY, counts, "request"), 2)
    assert list(capped.classes) == ["a", "y"]


def test_models_of_numbers_and_labels_are_counted() -> None:
    series = collected(FakeCounts(valued_models()))
    assert series["processor_mixed_outputs", frozenset()] == 1
    assert scraped(experiment_counts())["processor_mixed_outputs", frozenset()] == 0


#: A family of each group, and those that all choices have.
GROUPS = {
    "labels": {"model_kappa", "model_confusion_cells"},
    "probabilities": {"model_log_loss", "model_roc_auc", "model_top_k_accuracy_ratio"},
    "numbers": {"model_measured", "model_error_mean", "model_within_tolerance_ratio"},
    "sets": {"model_exact_match_ratio", "model_jaccard_mean"},
}
ALWAYS = {"model_judged", "model_accuracy_ratio", "model_feedback_coverage_ratio"}


@pytest.mark.parametrize("group", METRIC_GROUPS)
def test_the_setting_chooses_groups(group: str) -> None:
    settings = Settings.from_env({"PROCESSOR_METRICS": f" {group} ,"})
    found = families_of(collected(FakeCounts(valued_models()), settings))
    assert found >= ALWAYS | GROUPS.get(group, set())
    for other, families in GROUPS.items():
        assert other == group or not found & families
    classes = any(name == "model_recall_ratio" for name in found)
    assert classes == (group in ("labels", "sets"))


def test_a_group_that_there_is_not_is_an_error() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({"PROCESSOR_METRICS": "labels,regression"})
    assert str(error.value) == (
        "PROCESSOR_METRICS='labels,regression' is not valid: 'regression' is not a group of metrics: "
        f"use {', '.join(METRIC_GROUPS)}"
    )
    with pytest.raises(SettingsError, match="name one group at least"):
        Settings.from_env({"PROCESSOR_METRICS": ""})


def test_the_text_is_that_of_prometheus_client(promtool: str) -> None:
    fake = FakeCounts(valued_models(), names=("1h", "all"))
    registry = CollectorRegistry()
    registry.register(ModelCollector(fake, Settings(), lambda: NOW))
    ours, theirs = exposed(fake, Settings()), generate_latest(registry).decode()
    assert values(parse_text(ours)) == values(parse_text(theirs))
    assert values(parse_openmetrics(ours + "# EOF\n")) == values(parse_text(theirs))
    check = subprocess.run([promtool, "check", "metrics"], input=ours.encode(), capture_output=True)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_counts_without_sums_are_as_before() -> None:
    """Models of labels alone have no sample of the other groups."""
    counts = Counts(3, 3, 2, cells={Cell("x", "x"): 2, Cell("x", "y"): 1})
    every = scraped(counts)
    assert every == scraped(counts, Settings(metrics=("labels",)))
