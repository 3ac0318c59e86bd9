"""The text of /metrics, read back with the parsers of Prometheus' client."""

import subprocess
from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.statistics.labels import scores
from processor.domain.tally.windows import parse_window
from processor.publish import alert_families, value_families
from processor.publish.collector import OwnCollector
from processor.publish.estimates import families as estimate_families
from processor.publish.families import FAMILIES, model_rows
from processor.publish.interfaces import Gauges
from processor.settings import Settings
from processor.telemetry import Histogram, Telemetry
from tests.support.fakes import (
    EXPERIMENT,
    NOW,
    UNJUDGED,
    WINDOWS,
    FakeCounts,
    FakeHealth,
)
from tests.support.model_collector import ModelCollector
from tests.support.scrape_parser import Series, collected, exposed, model, parse_openmetrics, values


def names(series: Iterable[Series]) -> set[str]:
    return {name for name, _ in series}


def of(series: Mapping[Series, float], key: ModelKey, by: str = "request") -> set[str]:
    wanted = {("deployment", key.deployment), ("by", by)}
    return {name for name, labels in series if wanted <= labels}


def test_values_are_those_of_the_counts(counts_source: FakeCounts) -> None:
    series = collected(counts_source)
    assert series[model("model_predictions", EXPERIMENT)] == 100
    assert series[model("model_judged", EXPERIMENT)] == 63
    assert series[model("model_correct", EXPERIMENT)] == 46
    assert series[model("model_unknown_actual", EXPERIMENT)] == 0
    assert series[model("model_rewards", EXPERIMENT)] == 63
    assert series[model("model_reward_disagreements", EXPERIMENT)] == 17
    cell = model("model_confusion_cells", EXPERIMENT, actual="t:1", predicted="t:2")
    assert series[cell] == 8
    assert series[model("model_accuracy_ratio", EXPERIMENT)] == 46 / 63
    assert series[model("model_accuracy_low_ratio", EXPERIMENT)] == 0.6097009078044822
    assert series[model("model_accuracy_high_ratio", EXPERIMENT)] == 0.82416155587684
    assert series[model("model_feedback_coverage_ratio", EXPERIMENT)] == 0.63
    assert series[model("model_reward_mean", EXPERIMENT)] == 46 / 63
    assert series[model("model_precision_ratio", EXPERIMENT, class_="t:0")] == 0.8125
    derived = scores(counts_source.models[EXPERIMENT])
    for average in ("macro", "micro", "weighted"):
        for score in ("precision", "recall", "specificity", "f1"):
            name = f"model_{score}_{average}_ratio"
            assert series[model(name, EXPERIMENT)] == getattr(getattr(derived, average), score)
    assert series[model("model_mcc", EXPERIMENT)] == derived.mcc
    assert series[model("model_kappa", EXPERIMENT, "5m", "feedback")] == derived.kappa


def test_every_family_of_labels_has_samples(counts_source: FakeCounts) -> None:
    own = (*value_families.FAMILIES, *estimate_families.FAMILIES, *alert_families.FAMILIES)
    others = {family.name for family in own}
    expected = {family.name for family in FAMILIES} - others | {
        "processor_capped_labels",
        "processor_hidden_models",
        "processor_mixed_outputs",
    }
    assert names(collected(counts_source)) == expected
    assert len(expected) == len(FAMILIES) - len(others) + 3


def test_counts_of_zero_are_there_and_undefined_ratios_are_not(counts_source: FakeCounts) -> None:
    series = collected(counts_source)
    assert series[model("model_judged", UNJUDGED)] == 0
    assert series[model("model_feedback_coverage_ratio", UNJUDGED)] == 0
    assert of(series, UNJUDGED) == {
        *("model_predictions", "model_judged", "model_correct", "model_unknown_actual"),
        *("model_rewards", "model_reward_disagreements", "model_feedback_coverage_ratio"),
    }


def test_feedback_basis_has_no_predictions_and_no_coverage(counts_source: FakeCounts) -> None:
    absent = {"model_predictions", "model_feedback_coverage_ratio"}
    series = collected(counts_source)
    assert of(series, EXPERIMENT, "request") - of(series, EXPERIMENT, "feedback") == absent


def test_cells_only_above_0_and_only_for_their_windows(counts_source: FakeCounts) -> None:
    counts_source.models[EXPERIMENT].cells[Cell("x", "y")] = 0
    series = collected(
        counts_source, Settings(cell_windows=(parse_window("1h"), parse_window("7d")))
    )
    cells = [labels for name, labels in series if name == "model_confusion_cells"]
    assert {dict(labels)["window"] for labels in cells} == {"1h", "7d"}
    assert all(series["model_confusion_cells", labels] > 0 for labels in cells)
    assert len(cells) == 8 * 2 * 2


def test_only_the_bases_of_the_settings(counts_source: FakeCounts) -> None:
    series = collected(counts_source, Settings(metrics_by=("feedback",)))
    assert {dict(labels)["by"] for name, labels in series if name.startswith("model_")} == {
        "feedback"
    }


def test_a_model_that_leaves_between_two_rows_is_left_out(counts_source: FakeCounts) -> None:
    rows = model_rows(counts_source.windows(NOW), ["request"], [])
    assert next(rows).key == EXPERIMENT
    del counts_source.models[UNJUDGED]
    assert {row.key for row in rows} == {EXPERIMENT}


label = st.text(max_size=8) | st.sampled_from(
    ["", '"', "\\", "\n", '\\n"', "ä\u2028", "\r", "\x00"]
)
models = st.dictionaries(
    st.builds(ModelKey, label, label, label, label),
    st.builds(
        lambda cells, unknown: Counts(
            99, sum(cells.values()) + unknown, 0, unknown, 3, -2 * MICRO // 3, 1, cells
        ),
        st.dictionaries(st.builds(Cell, label, label), st.integers(1, 10**15), max_size=6),
        st.integers(0, 3),
    ),
    max_size=4,
)


@given(models, st.integers(1, 3))
def test_the_text_is_that_of_prometheus_client(
    counts: dict[ModelKey, Counts], max_classes: int
) -> None:
    capped = Settings(max_classes=max_classes)
    fake = FakeCounts(counts, names=("1h", "all"))
    registry = CollectorRegistry()
    registry.register(ModelCollector(fake, capped, lambda: NOW))
    ours, theirs = exposed(fake, capped), generate_latest(registry).decode()

    assert values(parse_text(ours)) == values(parse_text(theirs))
    assert values(parse_openmetrics(ours + "# EOF\n")) == values(parse_text(theirs))
    described = {line for line in ours.splitlines() if line.startswith("# ")}
    assert described == {line for line in theirs.splitlines() if line.startswith("# ")}


def test_a_lone_surrogate_does_not_fail_the_scrape() -> None:
    keys = [EXPERIMENT._replace(model=name) for name in ("\udcff", "\udcfe")]
    text = exposed(FakeCounts({key: Counts(predictions=1) for key in keys}), Settings())
    found = values(parse_text(text.encode().decode()))
    assert model("model_judged", EXPERIMENT._replace(model="\\udcff")) in found


def own(telemetry: Telemetry, health: FakeHealth) -> dict[Series, float]:
    registry = CollectorRegistry()
    registry.register(OwnCollector(telemetry, health))
    return values(parse_text(generate_latest(registry).decode()))


def test_own_families(health: FakeHealth) -> None:
    telemetry = Telemetry(joined=3, late=2, bootstrap_documents=9)
    telemetry.events["response"] = 5
    telemetry.dead_letters["bad_json"] = 1
    telemetry.not_scorable["kinds_differ"] = 4
    telemetry.feedback_delay = Histogram((1.0, 60.0))
    for delay in (0.5, 1.0, 2.0, 1000.0):
        telemetry.feedback_delay.observe(delay)
    health.held = Gauges(
        rows_differ=1,
        not_scorable_items={"position": 6},
        unmatched_feedbacks=8,
        watermark_timestamp_seconds=NOW,
    )
    series = own(telemetry, health)

    def value(name: str, **labels: str) -> float:
        return series[name, frozenset(labels.items())]

    assert value("processor_events_total", event_type="response") == 5
    assert value("processor_events_total", event_type="unreadable") == 0
    assert value("processor_dead_letters_total", reason="bad_json") == 1
    assert value("processor_dead_letters_total", reason="no_id") == 0
    assert value("processor_not_scorable_total", reason="kinds_differ") == 4
    # From 0 on: else the first ones of a reason would be no increase, and no alert.
    assert value("processor_not_scorable_total", reason="shape") == 0
    assert value("processor_ingress_refused_total", reason="bad_json") == 0
    assert value("processor_ingress_refused_total", reason="unauthorized") == 0
    assert value("processor_not_scorable_items", reason="position") == 6
    assert value("processor_joined_total") == 3
    assert value("processor_late_total") == 2
    assert value("processor_bootstrap_documents_total") == 9
    assert value("processor_rows_differ") == 1
    assert value("processor_unmatched_feedbacks") == 8
    assert value("processor_watermark_timestamp_seconds") == NOW
    assert value("processor_consumer_lag_records") == 7
    assert value("processor_bootstrap_complete") == 1
    assert value("processor_feedback_delay_seconds_bucket", le="1.0") == 2
    assert value("processor_feedback_delay_seconds_bucket", le="60.0") == 3
    assert value("processor_feedback_delay_seconds_bucket", le="+Inf") == 4
    assert value("processor_feedback_delay_seconds_count") == 4
    assert value("processor_feedback_delay_seconds_sum") == 1003.5
    assert [dict(labels).keys() for name, labels in series if name == "processor_build_info"] == [
        {"version"}
    ]
    assert "processor_checkpoint_age_seconds" not in names(series)


def test_own_families_are_those_of_the_contract(health: FakeHealth) -> None:
    health.held = Gauges(
        watermark_timestamp_seconds=1.0,
        checkpoint_age_seconds=2.0,
        not_scorable_items={"shape": 1},
        broker_up=1,
        source_topics_missing=0,
        source_silent_seconds=1.5,
        disk_free_bytes=1,
        disk_full=0,
        archive_up=0,
        snapshot_store_up=1,
        archive_refused={"rights": 1},
    )
    telemetry = Telemetry()
    telemetry.not_scorable["shape"] = 1
    counters = (
        *("events", "joined", "duplicates", "superseded", "corrections", "late", "says_nothing"),
        *(
            "not_scorable",
            "future_times",
            "dead_letters",
            "bootstrap_documents",
            "interpreted_events",
        ),
        *(
            "evicted_requests",
            "catch_up_skipped",
            "snapshot_failures",
            "snapshot_copy_failures",
            "source_lost",
            "lookups",
            "recalled",
        ),
        *("outcomes_written", "outcomes_missing", "logged_documents", "logged_refused"),
        *("ingress_requests", "ingress_refused"),
    )
    gauges = (
        *("not_scorable_items", "held_deltas", "rows_differ", "ambiguous", "unmatched_feedbacks"),
        *("waiting_requests", "matched_requests", "watermark_timestamp_seconds"),
        "consumer_lag_records",
        *("bootstrap_complete", "checkpoint_age_seconds", "recovery_remaining_records"),
        *("outcomes_waiting", "bootstrap_remaining_documents", "ingress_in_flight"),
        *("ready", "complete", "broker_up", "source_topics_missing", "source_silent_seconds"),
        *("savepoint_requests", "savepoint_bytes"),
        *("savepoint_loaded_timestamp_seconds", "savepoint_taken_timestamp_seconds"),
        *("disk_free_bytes", "disk_full", "archive_up", "archive_refused", "models_file_refused"),
        "snapshot_store_up",
        *("recovery_seconds", "failing_partitions", "stalled_seconds", "build_info"),
        *("workers", "silent_workers"),
    )
    histograms = ("feedback_delay_seconds", "end_to_end_seconds", "ingress_seconds")
    assert names(own(telemetry, health)) == {
        *(f"processor_{name}_total" for name in counters),
        *(f"processor_{name}" for name in gauges),
        *(
            f"processor_{name}{part}"
            for name in histograms
            for part in ("_bucket", "_sum", "_count")
        ),
    }


def test_promtool_finds_nothing_to_complain_of(
    counts_source: FakeCounts, health: FakeHealth, promtool: str
) -> None:
    registry = CollectorRegistry()
    registry.register(OwnCollector(Telemetry(), health))
    text = exposed(counts_source, Settings()).encode() + generate_latest(registry)
    check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_windows_of_the_fake_are_those_of_the_settings() -> None:
    assert tuple(window.name for window in Settings().windows) == WINDOWS


def test_an_average_that_no_class_defines_has_no_sample() -> None:
    one_class = FakeCounts({EXPERIMENT: Counts(2, 2, 2, cells={Cell("x", "x"): 2})})
    series = collected(one_class)
    for average in ("macro", "micro", "weighted"):
        assert series[model(f"model_recall_{average}_ratio", EXPERIMENT)] == 1
        assert model(f"model_specificity_{average}_ratio", EXPERIMENT) not in series
