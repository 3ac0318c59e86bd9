"""The second of two classes, by which their scores are, in both ways of the join (counting rule 26)."""

import pytest

from processor import evaluate
from tests.support.events.model_events import feedback, response


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize(("classes", "second"), [(["b", "a"], "a"), (["x", "y"], "b"), (None, "b")])
def test_the_second_of_the_classes_goes_before_that_of_the_names(
    is_native: bool,
    classes: list[str] | None,
    second: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not is_native:
        monkeypatch.setattr("processor.domain.join.fold.use_native", False)
        monkeypatch.setattr("processor.domain.join.requests.table.use_native", False)
    events = []
    for number, (probability, actual) in enumerate(
        [(0.9, "a"), (0.6, "b"), (0.7, "a"), (0.8, "b"), (0.2, "b")]
    ):
        row = {"names": ["a", "b"], "ndarray": [[probability, 1 - probability]]}
        events.append(response(f"r{number}", {"data": row}))
        events.append(feedback(f"r{number}", {"truth": actual}))
    rules = {"models": [{"match": "*/*", "classes": classes}]} if classes else {"models": []}
    (model,) = evaluate(events, models=rules).models
    assert model.average_precision == model.classes[second].average_precision
    assert model.classes["a"].average_precision != model.classes["b"].average_precision
