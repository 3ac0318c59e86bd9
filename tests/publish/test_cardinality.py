"""The cap on labels, in the metrics and in the JSON."""

from processor.domain.model_key import ModelKey
from processor.domain.results import model_result
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.labels import scores
from processor.publish.cardinality import LimitedCounts, cap_result, shown_labels
from processor.settings import Settings
from tests.support.fakes import EXPERIMENT, FakeCounts, many_classes
from tests.support.model_collector import ModelCollector
from tests.support.scrape_parser import collected, model


def test_cap_shows_the_largest_classes_and_sums_the_rest() -> None:
    counts = many_classes(100)
    series = collected(FakeCounts({EXPERIMENT: counts}), Settings(max_classes=10))
    cells = {
        (dict(labels)["actual"], dict(labels)["predicted"]): value
        for (name, labels), value in series.items()
        if name == "model_confusion_cells" and ("by", "request") in labels
    }
    shown = {f"{i:03}" for i in range(10)}
    assert {label for cell in cells for label in cell} == {*shown, "other"}
    assert sum(cells.values()) == sum(counts.cells.values())
    assert cells["other", "000"] == 2
    assert cells["other", "other"] == sum(1000 - i for i in range(10, 100))
    classes = {dict(labels)["class"] for name, labels in series if name == "model_precision_ratio"}
    assert classes == shown
    macro = series[model("model_precision_macro_ratio", EXPERIMENT)]
    assert macro == scores(counts).macro.precision
    assert series["processor_capped_labels", frozenset()] == 90


def test_capped_labels_is_0_below_the_cap(counts_source: FakeCounts) -> None:
    assert collected(counts_source)["processor_capped_labels", frozenset()] == 0


def test_cap_breaks_ties_by_label() -> None:
    assert shown_labels({"d": 3, "b": 1, "c": 1, "a": 1}, 3) == {"d", "a", "b"}


def test_a_label_called_other_never_stands_beside_the_sum() -> None:
    cells = {Cell(label, label): 9 for label in ("other", "a", "b")}
    cells[Cell("c", "c")] = 1
    counts = Counts(28, 28, 28, cells=cells)
    series = collected(FakeCounts({EXPERIMENT: counts}), Settings(max_classes=2))
    other = model("model_confusion_cells", EXPERIMENT, actual="other", predicted="other")
    assert series[other] == 10
    assert model("model_recall_ratio", EXPERIMENT, class_="other") not in series


def test_cap_of_the_json_is_that_of_the_metrics() -> None:
    result = model_result(EXPERIMENT, many_classes(100), "request")
    capped = cap_result(result, 10)
    assert list(capped.classes) == [f"{i:03}" for i in range(10)]
    assert [(c.actual, c.predicted, c.count) for c in capped.confusion[-2:]] == [
        ("other", "000", 2),
        ("other", "other", sum(1000 - i for i in range(10, 100))),
    ]
    assert capped.macro == result.macro
    assert cap_result(result, 100) is result


def test_more_models_than_may_be_shown_are_hidden_and_counted(counts_source: FakeCounts) -> None:
    """The largest are shown, in every window; the series stay bounded whatever comes in."""
    keys = [ModelKey("n", f"d{number:03}", "p", "m") for number in range(100)]
    counts_source.models = {key: Counts(predictions=number % 50) for number, key in enumerate(keys)}
    capped = LimitedCounts(counts_source, 3)
    for models in capped.windows(0.0).values():
        assert list(models) == [keys[49], keys[99], keys[48]]
    assert capped.hidden == 97
    settings = Settings.from_env({"PROCESSOR_MAX_MODELS": "3"})
    found = {
        sample.labels.get("deployment")
        for family in ModelCollector(counts_source, settings, lambda: 0.0).collect()
        for sample in family.samples
    }
    assert found == {None, "d049", "d099", "d048"}
