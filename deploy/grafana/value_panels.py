"""Panels of the Grafana dashboard about probabilities, numbers and label sets."""

from typing import Any

from blocks import ONE, free_graph, interval_graph, line, scores


def value_panels() -> list[Any]:
    """The panels about the chosen model's probabilities, numbers and label sets; each is empty for a
    model that answers otherwise."""
    return [
        scores(
            "Area under the ROC curve",
            "The share of pairs of an item of the class and one of another in which the first has the "
            "higher probability: 0.5 is chance. Of two classes for the second one, of more for each.",
            "short",
            {"model_roc_auc": "AUC {{class}}"},
        )
        .min(0)
        .max(1),
        scores(
            "Calibration error",
            "How far the probability of the predicted label is from the share that is right, on "
            "average.",
            "percentunit",
            {"model_calibration_error_ratio": "calibration error"},
        ).min(0),
        scores(
            "Log loss and Brier score",
            "Log loss: mean of -ln(p) of the actual class. Brier score: mean of (p - y)^2. Lower is "
            "better.",
            "short",
            {"model_log_loss": "log loss", "model_brier_score": "Brier score"},
        ).min(0),
        interval_graph(
            "Mean absolute error, with its 95 % interval",
            "Mean of |predicted - actual|. Two windows whose intervals do not overlap differ "
            "significantly.",
            "short",
            (
                "model_absolute_error_mean_high",
                "model_absolute_error_mean",
                "model_absolute_error_mean_low",
            ),
            "mean absolute error",
        ),
        scores(
            "Bias",
            "Mean of predicted - actual: above 0 the model predicts too much.",
            "short",
            {"model_error_mean": "bias"},
        ),
        scores(
            "R2",
            "Share of the variance of the actual numbers that the model explains: 0 is no better than "
            "their mean.",
            "short",
            {"model_r_squared": "R2"},
        ).max(1),
        scores(
            "Label sets",
            "Exact matches: items with all the actual labels and no others. Jaccard index: labels both "
            "predicted and actual / predicted or actual. Hamming loss: share of wrong labels.",
            "percentunit",
            {
                "model_exact_match_ratio": "exact match",
                "model_jaccard_mean": "Jaccard index",
                "model_hamming_loss_ratio": "Hamming loss",
            },
        )
        .min(0)
        .max(1),
        scores(
            "Judged as numbers",
            "Judged items that are numbers, in the chosen window.",
            "short",
            {"model_measured": "numbers"},
        ).min(0),
        free_graph(
            "Statistics of your own",
            "Every score of the statistics that the models file names for the model. Each has a measure "
            "of its own: choose a line in the legend to see it alone.",
            "short",
            line(
                f'max by (__name__, score) ({{__name__=~"model_custom_.+", {ONE}}})',
                "{{__name__}}: {{score}}",
            ),
        ),
    ]
