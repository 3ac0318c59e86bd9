"""The log that is filled is as long as it says, and comes to what it says."""

from collections import Counter

from bench.journal import draw
from bench.support.load import NAMES, Expected, deployment


def test_truth_is_what_the_rows_say() -> None:
    expected, predicted, judged, rows = Expected(), {}, Counter[tuple[str, str, str]](), 0
    for predictions, feedbacks, counts in draw(60_000, 1):
        expected.add(counts)
        rows += len(predictions) + len(feedbacks)
        for row in predictions:
            predicted[row.request_id] = row
        for said in feedbacks:
            made = predicted[said.request_id]
            assert made.time < said.time
            actual = made.answers if said.truth is None else said.truth
            assert isinstance(actual, int)
            assert isinstance(made.answers, int)
            judged[deployment(made.model), NAMES[actual], NAMES[made.answers]] += 1
    assert abs(rows - 60_000) < 1_000
    assert sum(model.predictions for model in expected.models.values()) == len(predicted)
    assert judged == {
        (name, *cell): count
        for name, model in expected.models.items()
        for cell, count in model.cells.items()
    }
