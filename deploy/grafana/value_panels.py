"""Panels of the Grafana dashboard about probabilities, numbers and label sets."""

from typing import Any

from blocks import ONE, free_graph, graph, line, merged, shade_interval


def value_panels() -> list[Any]:
    """The panels about the chosen model's probabilities, numbers and label sets; each is empty for a
    model that answers otherwise."""
    error = free_graph(
        "Mean absolute error, with its 95 % interval",
        "Mean of |predicted - actual|. Two windows whose intervals do not overlap differ significantly.",
        "short",
        line(merged("model_absolute_error_mean_high", ONE), "at most"),
        line(merged("model_absolute_error_mean", ONE), "mean absolute error"),
        line(merged("model_absolute_error_mean_low", ONE), "at least"),
    )
    shade_interval(error)
    return [
        graph(
            "Area under the ROC curve",
            "The share of pairs of an item of the class and one of another in which the first has the "
            "higher probability: 0.5 is chance. Of the second of two classes; of each of more.",
            "short",
            line(merged("model_roc_auc", ONE), "AUC {{class}}"),
        ).max(1),
        graph(
            "Calibration error",
            "How far the probability of the predicted label is from the share that is right, on "
            "average.",
            "percentunit",
            line(merged("model_calibration_error_ratio", ONE), "calibration error"),
        ),
        graph(
            "Log loss and Brier score",
            "Log loss: mean of -ln(p) of the actual class. Brier score: mean of (p - y)^2. Lower is "
            "better.",
            "short",
            line(merged("model_log_loss", ONE), "log loss"),
            line(merged("model_brier_score", ONE), "Brier score"),
        ),
        error,
        free_graph(
            "Bias",
            "Mean of predicted - actual: above 0 the model predicts too much.",
            "short",
            line(merged("model_error_mean", ONE), "bias"),
        ),
        free_graph(
            "R2",
            "Share of the variance of the actual numbers that the model explains: 0 is no better than "
            "their mean.",
            "short",
            line(merged("model_r_squared", ONE), "R2"),
        ).max(1),
        graph(
            "Label sets",
            "Exact matches: items with all the actual labels and no others. Jaccard index: labels both "
            "predicted and actual / predicted or actual. Hamming loss: wrong labels of all.",
            "percentunit",
            line(merged("model_exact_match_ratio", ONE), "exact match"),
            line(merged("model_jaccard_mean", ONE), "Jaccard index"),
            line(merged("model_hamming_loss_ratio", ONE), "Hamming loss"),
        ).max(1),
        graph(
            "Judged as numbers",
            "Judged items that are numbers, in the chosen window.",
            "short",
            line(merged("model_measured", ONE), "numbers"),
        ),
    ]
