"""Panels of the Grafana dashboard about models whose labels come late."""

from typing import Any

from blocks import ONE, ONE_BY_REQUEST, free_graph, graph, interval_graph, line, merged

_BY_FEEDBACK = ONE.replace('by="$by"', 'by="feedback"')


def late_panels() -> list[Any]:
    """The panels about the chosen model's nowcast, feedback and drift."""
    nowcast = interval_graph(
        "Accuracy while labels are late: nowcast, with its 95 % interval",
        "Estimate of the accuracy by time of request once all labels have arrived, beside the accuracy "
        "of what is judged so far. The nowcast is absent while the pace of labels changes, and while "
        "too few labels have arrived.",
        "percentunit",
        (
            "model_accuracy_nowcast_high_ratio",
            "model_accuracy_nowcast_ratio",
            "model_accuracy_nowcast_low_ratio",
        ),
        "nowcast",
        ONE_BY_REQUEST,
    )
    for chosen, name in ((ONE_BY_REQUEST, "by request so far"), (_BY_FEEDBACK, "by feedback")):
        nowcast.with_target(line(merged("model_accuracy_ratio", chosen), name))
    feedback = graph(
        "Feedback that has arrived, and feedback that is expected",
        "Judged items, and those that would be judged by now at the usual pace of labels, divided by "
        "predicted items. Coverage far below the expected line: the source of feedback has stopped.",
        "percentunit",
        line(merged("model_feedback_coverage_ratio", ONE_BY_REQUEST), "coverage"),
        line(merged("model_feedback_expected_ratio", ONE_BY_REQUEST), "expected"),
    )
    fit = free_graph(
        "Pace of labels",
        "Fit of the nowcast: 1 while labels come at the usual pace, below 1 while they come later.",
        "short",
        line(merged("model_nowcast_fit_ratio", ONE_BY_REQUEST), "fit"),
    )
    drift = graph(
        "Drift of predictions",
        "Jensen-Shannon distance between the shares of the predicted labels in the window and in the "
        "same length of time before. Chance alone stays below the line 'by chance' in 95 % of cases.",
        "short",
        line(merged("model_prediction_jensen_shannon_distance", ONE_BY_REQUEST), "distance"),
        line(merged("model_prediction_distance_by_chance", ONE_BY_REQUEST), "by chance"),
    )
    return [nowcast.min(0).max(1), feedback.max(1), fit, drift]
