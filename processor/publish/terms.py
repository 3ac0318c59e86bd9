"""The meaning of each score in one plain sentence, for the page and the report."""

from collections.abc import Iterator

from processor.publish.panels import Parts

_ALL = {
    "Coverage": "The share of predicted items that have feedback.",
    "Mean reward": "The mean of the rewards that came as feedback.",
}
_LABELS = {
    "Accuracy": "The share of judged items whose predicted label is the actual one.",
    "Matthews' correlation": "How well predicted and actual labels agree, from \u22121 to 1; 0 is "
    "chance.",
    "Cohen's kappa": "How much more often the labels agree than by chance; 1 is always, 0 is chance.",
}
_CLASSES = {
    "precision": "Of the items predicted as a class, the share that are of it.",
    "recall": "Of the items of a class, the share predicted as it.",
    "specificity": "Of the items of other classes, the share not predicted as the class.",
    "F1": "One number for precision and recall: their harmonic mean.",
    "support": "The items whose actual label is the class.",
    "Macro F1": "The mean of the F1 of all classes, whatever their size.",
}
_PROBABILITIES = {
    "ROC AUC": "How often an item of the class has a higher probability than one of another: 1 is "
    "always, 0.5 is chance.",
    "average precision": "The mean precision over all thresholds: the area under the curve of precision "
    "and recall.",
    "Calibration error (ECE)": "How far the probability of the predicted label is from the share of "
    "right items, on average; 0 is best.",
    "Brier score": "The mean squared distance of the probabilities from what happened; 0 is best.",
    "Log loss": "How surprised the model is by the actual labels: the mean of \u2212ln of their "
    "probability; 0 is best.",
    "Mean reciprocal rank": "The mean of 1 / rank of the actual label, the most probable label "
    "first; 1 is best.",
}
_NUMBERS = {
    "Mean absolute error": "How far a prediction is from the truth, on average, above or below.",
    "RMSE": "The root of the mean squared error: like the mean absolute error, but large errors weigh "
    "more.",
    "Bias": "The mean of predicted minus actual: above 0 the model predicts too much.",
    "R\u00b2": "The share of the variance of the truths that the predictions explain; below 0 the "
    "mean of the truths would predict better.",
    "Correlation": "How closely predictions and truths follow a line, whichever line; 1 is exactly.",
    "Slope of the best fit": "By how much the truth grows, on average, where the prediction grows by 1.",
    "MAPE": "The mean error as a part of the truth, over items whose truth is not 0.",
    "WAPE": "The sum of all errors as a part of the sum of all truths.",
    "Within the tolerance": "The share of items whose error is within the tolerance of the models file.",
}
_SETS = {
    "Exact match": "The share of items with all the actual labels and no others.",
    "Jaccard index": "The labels both predicted and actual, as a share of those predicted or "
    "actual; the mean over the items.",
    "Hamming loss": "The share of wrong decisions, over all items and labels; 0 is best.",
}
#: How the plot of predicted against actual numbers is made.
AGREEMENT_NOTE = (
    "Drawn from sums, not from single items: the ellipses reach one and two standard deviations from "
    "the means and lean with the correlation. Of normally distributed numbers 39\u202f% and 86\u202f% "
    "lie inside; of a model without error everything lies on the dashed line."
)
#: How exact the table of thresholds is.
THRESHOLDS_NOTE = (
    "Scores are known at the edges of 64 bins: each row is for the next edge at which an item is, the "
    "current threshold's too."
)
#: All terms, by their names.
TERMS = _ALL | _LABELS | _CLASSES | _PROBABILITIES | _NUMBERS | _SETS


def terms_of(parts: Parts) -> Iterator[tuple[str, str]]:
    """Yield the names and meanings of the scores that a result of these parts has."""
    yield from _ALL.items()
    for is_there, terms in (
        (parts.labels, _LABELS),
        (parts.sets, _SETS),
        (parts.labels or parts.sets, _CLASSES),
        (parts.probabilities, _PROBABILITIES),
        (parts.numbers, _NUMBERS),
    ):
        if is_there:
            yield from terms.items()
