"""The Grafana dashboard as code; prints its JSON, which `make dashboard` writes beside this file.

Model gauges are merged by `max without (instance, pod)`, so that a model that moves from one worker to
another stays one line. No query needs the recording rules.
"""

from itertools import count
from typing import Any

from blocks import (
    HALF,
    NAMES,
    ONE,
    ONE_BY_REQUEST,
    SOURCE,
    TALL,
    VIEW,
    WIDE,
    figure,
    graph,
    interval_graph,
    line,
    merged,
    rows,
    thresholds,
    transform,
    variable,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    FieldColor,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DynamicConfigValue,
    FieldColorModeId,
)
from late_panels import late_panels
from value_panels import value_panels

LEGEND = "/".join(f"{{{{{name}}}}}" for name in NAMES)
SCORES = ("precision", "recall", "specificity", "f1")


def choices() -> list[QueryVariable]:
    """The variables: window, basis, and the four names of a model, each one limited by those before."""
    result = [
        variable("window", "Window", "label_values(model_judged, window)", "all"),
        variable("by", "By time of", "label_values(model_judged, by)", "request"),
    ]
    for number, name in enumerate(NAMES):
        before = ", ".join(f'{each}="${each}"' for each in NAMES[:number])
        chosen = f"model_judged{{{before}}}" if before else "model_judged"
        label = name.removeprefix("deployment_").capitalize()
        result.append(variable(name, label, f"label_values({chosen}, {name})"))
    return result


def overview() -> list[Any]:
    """The panels about all models."""
    columns = {
        "Accuracy": "model_accuracy_ratio",
        "at least": "model_accuracy_low_ratio",
        "at most": "model_accuracy_high_ratio",
        "Judged": "model_judged",
        "Correct": "model_correct",
        "Coverage": "model_feedback_coverage_ratio",
        "MCC": "model_mcc",
    }
    table = Table().title("Models").span(WIDE).height(TALL).datasource(SOURCE)
    table.description(
        "Accuracy with its 95 % Wilson interval, judged items and coverage, in the chosen window. "
        "Coverage is by time of request only."
    )
    for ref, family in zip("ABCDEFG", columns.values(), strict=True):
        table.with_target(rows(merged(family, VIEW), ref))
    table.with_transformation(transform("merge"))
    table.with_transformation(
        transform(
            "organize",
            excludeByName=dict.fromkeys(
                ("Time", "window", "by", "job", "namespace", "container", "endpoint"), True
            ),
            renameByName={
                f"Value #{ref}": name for ref, name in zip("ABCDEFG", columns, strict=True)
            },
            indexByName={name: index for index, name in enumerate(NAMES)},
        )
    )
    for name in ("Accuracy", "at least", "at most", "Coverage"):
        table.override_by_name(name, [DynamicConfigValue("unit", "percentunit")])
    worst = Table().title("Models below their floor, the worst first").span(WIDE).height(TALL)
    worst.datasource(SOURCE).description(
        "How far the upper end of the 95 % interval of accuracy is above the floor of the models file, "
        "in the chosen window: below 0 the model is surely below its floor. Models without a floor and "
        "retired models are left out."
    )
    margin = (
        f"sort({merged('model_accuracy_high_ratio', VIEW)} - ignoring (window, by) group_left () "
        f"max without (instance, pod) (model_floor_ratio) unless on ({', '.join(NAMES)}) "
        "max without (instance, pod) (model_retired))"
    )
    worst.with_target(rows(margin, "A").legend_format(""))
    worst.with_transformation(
        transform(
            "organize",
            excludeByName=dict.fromkeys(
                ("Time", "window", "by", "job", "namespace", "container", "endpoint"), True
            ),
            renameByName={"Value": "Above the floor"},
            indexByName={name: index for index, name in enumerate(NAMES)},
        )
    )
    worst.override_by_name("Above the floor", [DynamicConfigValue("unit", "percentunit")])
    accuracy = graph(
        "Accuracy of all models",
        "Accuracy: correct items divided by judged items, in the chosen window.",
        "percentunit",
        line(merged("model_accuracy_ratio", VIEW), LEGEND),
    )
    coverage = graph(
        "Feedback coverage of all models",
        "Judged items divided by predicted items, in the chosen window; late feedback still raises it.",
        "percentunit",
        line(
            merged("model_feedback_coverage_ratio", 'window="$window", by="request"'),
            LEGEND,
        ),
    )
    return [table, worst, accuracy.max(1), coverage.max(1)]


def figures() -> list[Stat]:
    """The six numbers about the chosen model."""
    return [
        figure(
            "Accuracy",
            "Correct items divided by judged items.",
            "percentunit",
            merged("model_accuracy_ratio", ONE),
        ),
        figure(
            "Judged",
            "Predicted items with an outcome, correct or wrong.",
            "short",
            merged("model_judged", ONE),
        ),
        figure(
            "Predicted",
            "Predicted items, by time of request.",
            "short",
            merged("model_predictions", ONE_BY_REQUEST),
        ),
        figure(
            "Coverage",
            "Judged items divided by predicted items, by time of request.",
            "percentunit",
            merged("model_feedback_coverage_ratio", ONE_BY_REQUEST),
        ),
        figure(
            "MCC",
            "Matthews correlation coefficient: 0 is no better than chance.",
            "short",
            merged("model_mcc", ONE),
        ).decimals(3),
        figure(
            "Reward against truth",
            "Feedback whose reward and truth contradict each other.",
            "short",
            merged("model_reward_disagreements", ONE),
        ),
    ]


def one_model() -> list[Any]:
    """The panels about the chosen model."""
    interval = interval_graph(
        "Accuracy, with its 95 % Wilson interval",
        "The interval is narrow if many items were judged. Two windows whose intervals do not overlap "
        "differ significantly.",
        "percentunit",
        ("model_accuracy_high_ratio", "model_accuracy_ratio", "model_accuracy_low_ratio"),
        "accuracy",
    )
    interval.min(0).max(1)
    chosen = ", ".join(f'{name}="${name}"' for name in NAMES)
    interval.with_target(line(merged("model_floor_ratio", chosen), "floor"))
    interval.override_by_name(
        "floor",
        [
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
        ],
    )

    cells = "model_confusion_cells"
    chosen += ', window="all", by="$by"'
    matrix = Table().title("Confusion matrix, of all time").span(HALF).height(TALL)
    matrix.datasource(SOURCE).color_scheme(FieldColor().mode(FieldColorModeId.CONTINUOUS_BLUES))
    matrix.description(
        "Items by actual label (rows) and predicted label (columns). Other windows need "
        "PROCESSOR_CELL_WINDOWS."
    )
    matrix.with_target(
        rows(f"sum by (actual, predicted) ({merged(cells, chosen)})", "A").legend_format("")
    )
    matrix.with_transformation(
        transform(
            "groupingToMatrix", columnField="predicted", rowField="actual", valueField="Value"
        )
    )
    matrix.override_by_field_type(
        "number", [DynamicConfigValue("custom.cellOptions", {"type": "color-background"})]
    )

    classes = Table().title("Classes").span(HALF).height(TALL).datasource(SOURCE)
    classes.description(
        "Scores of each class against all other classes, in the chosen window."
    ).unit("percentunit")
    for ref, score in zip("ABCD", SCORES, strict=True):
        classes.with_target(rows(f"max by (class) (model_{score}_ratio{{{ONE}}})", ref))
    classes.with_transformation(transform("merge"))
    classes.with_transformation(
        transform(
            "organize",
            excludeByName={"Time": True},
            renameByName={
                f"Value #{ref}": score for ref, score in zip("ABCD", SCORES, strict=True)
            },
        )
    )

    means = graph(
        "Macro means over the classes",
        "Unweighted mean over the classes: a rare class counts as much as a frequent one.",
        "percentunit",
        *(line(merged(f"model_{score}_macro_ratio", ONE), score) for score in SCORES),
    )
    counts = graph(
        "Items",
        "Predicted items (by time of request), judged and correct items, in the chosen window.",
        "short",
        line(merged("model_predictions", ONE_BY_REQUEST), "predicted"),
        line(merged("model_judged", ONE), "judged"),
        line(merged("model_correct", ONE), "correct"),
    )
    return [*figures(), interval, matrix, classes, means.max(1), counts]


def quantiles(family: str) -> list[Dataquery]:
    """The median and the 95 % quantile of a histogram, over all workers."""
    rate = f"sum by (le) (rate({family}_bucket[$__rate_interval]))"
    return [
        line(f"histogram_quantile({share}, {rate})", f"{share:.0%}".replace("%", " %"))
        for share in (0.5, 0.95)
    ]


def health() -> list[Any]:
    """The panels about the processor itself."""
    return [
        figure("Workers", "Workers that answer a scrape.", "short", "count(processor_build_info)"),
        figure(
            "Bootstrap",
            "1 once the archive has been read, 0 before.",
            "short",
            "max(processor_bootstrap_complete)",
        ).thresholds(thresholds((None, "orange"), (1, "green"))),
        figure(
            "Source lag",
            "Records of the source that are not on the log yet.",
            "short",
            "sum(processor_consumer_lag_records)",
        ),
        figure(
            "Behind the log",
            "Age of the newest record in the counts; heartbeats on the log keep it near a second.",
            "s",
            "time() - min(processor_watermark_timestamp_seconds)",
        ).thresholds(thresholds((None, "green"), (60, "orange"), (300, "red"))),
        figure(
            "Held deltas",
            "Changes of counts (deltas) held back because the change before them is missing.",
            "short",
            "sum(processor_held_deltas)",
        ).thresholds(thresholds((None, "green"), (1, "red"))),
        figure(
            "Dead letters, 24 h",
            "Events that could not be decoded and are kept as dead letters.",
            "short",
            "sum(increase(processor_dead_letters_total[24h]))",
        ).thresholds(thresholds((None, "green"), (1, "orange"))),
        graph(
            "Events read",
            "Events read a second, by type, over all workers.",
            "cps",
            line(
                "sum by (event_type) (rate(processor_events_total[$__rate_interval]))",
                "{{event_type}}",
            ),
        ),
        graph(
            "Feedback delay, all models",
            "Time from a prediction to its feedback: median and 95 % quantile.",
            "s",
            *quantiles("processor_feedback_delay_seconds"),
        ),
        graph(
            "From the log to the counts",
            "Time from an event's arrival on the log to its effect on the counts.",
            "s",
            *quantiles("processor_end_to_end_seconds"),
        ),
        graph(
            "Lag and recovery",
            "Source records to read; log records to read before the counts are up to date.",
            "short",
            line("sum(processor_consumer_lag_records)", "source"),
            line("sum(processor_recovery_remaining_records)", "recovery"),
        ),
        graph(
            "Requests in memory",
            "Requests with a prediction and no feedback; requests with feedback and no prediction.",
            "short",
            line("sum(processor_waiting_requests)", "no feedback yet"),
            line("sum(processor_unmatched_feedbacks)", "no prediction yet"),
        ),
        graph(
            "What does not count",
            "Events that are not counted, by reason, and counts that were corrected.",
            "cps",
            line(
                "sum by (reason) (rate(processor_dead_letters_total[$__rate_interval])) > 0",
                "dead letter: {{reason}}",
            ),
            line("sum(rate(processor_late_total[$__rate_interval]))", "late"),
            line("sum(rate(processor_duplicates_total[$__rate_interval]))", "duplicate"),
            line("sum(rate(processor_corrections_total[$__rate_interval]))", "correction"),
        ),
        graph(
            "Requests at the ingress",
            "Requests a second by HTTP status, and the reasons of those that were refused.",
            "reqps",
            line(
                "sum by (status) (rate(processor_ingress_requests_total[$__rate_interval])) > 0",
                "{{status}}",
            ),
            line(
                "sum by (reason) (rate(processor_ingress_refused_total[$__rate_interval])) > 0",
                "refused: {{reason}}",
            ),
        ),
        graph(
            "Time of a request at the ingress",
            "Time from a request's arrival to its response: median and 95 % quantile.",
            "s",
            *quantiles("processor_ingress_seconds"),
        ),
        graph(
            "Memory",
            "Resident memory of each worker.",
            "bytes",
            line(
                "process_resident_memory_bytes and on (instance) processor_build_info",
                "{{instance}}",
            ),
        ),
        graph(
            "Checkpoint age",
            "Seconds since the last checkpoint: a restart reads that much of the log again.",
            "s",
            line("processor_checkpoint_age_seconds", "{{instance}}"),
        ),
    ]


def dashboard() -> Dashboard:
    """The whole dashboard."""
    result = (
        Dashboard("Model quality")
        .uid("model-quality")
        .description("Live, exact quality metrics of the deployed models, as ground truth arrives.")
        .tags(["machine learning", "feedback"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-24h", "now")
        .with_variable(DatasourceVariable("datasource").label("Source").type("prometheus"))
    )
    for choice in choices():
        result.with_variable(choice)
    sections = {
        "All models": overview(),
        "$deployment_namespace/$deployment/$predictor/$model": one_model(),
        "While labels are late": late_panels(),
        "Probabilities, numbers and label sets": value_panels(),
        "The processor": health(),
    }
    ids = count(1)
    for title, panels in sections.items():
        result.with_row(Row(title).id(next(ids)))
        for panel in panels:
            result.with_panel(panel.id(next(ids)))
    return result


if __name__ == "__main__":
    print(JSONEncoder(sort_keys=True, indent=2).encode(dashboard().build()))
