"""The models file's names and label maps, applied to answers and truths."""

from typing import Any

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.model_rules import parse_rules
from processor.telemetry import Telemetry
from tests.domain.seldon_events import FEEDBACK, RESPONSE, event, only
from tests.support.domain.decoding import meaning

BINARY = {"output": "probability", "classes": ["ham", "spam"]}
MAP = {"labels": {"0": "ham", "1": "spam"}}


def judged(entry: dict[str, Any], answer: object, truth: object) -> Any:
    """The result of a model after one answer and its truth, both given as rows."""
    file = {"models": [{"match": "seldon/iris", **entry}]}
    return only(
        [
            event(RESPONSE, {"data": {"ndarray": [answer]}}),
            event(FEEDBACK, {"truth": {"data": {"ndarray": [truth]}}}),
        ],
        file,
    )


@pytest.mark.parametrize("entry", [{}, BINARY, MAP, {**MAP, "output": "probability"}])
@pytest.mark.parametrize("answer", [[0.93], [1]])
@pytest.mark.parametrize(("truth", "correct"), [([1], 1), ([0], 0), ([1.0], 1)])
def test_a_binary_model_with_probabilities_or_classes(
    entry: dict[str, Any], answer: object, truth: object, correct: int
) -> None:
    """A binary model may answer ``[[0.93]]`` or ``[[1]]``."""
    model = judged(entry, answer, truth)
    assert (model.judged, model.correct) == (1, correct)
    assert set(model.classes) <= ({"ham", "spam"} if entry else {"0", "1"})


@pytest.mark.parametrize(
    ("answer", "predicted"),
    [([0.9, 0.1], "ham"), (0.2, "ham"), (1, "spam"), ("1", "spam"), ("spam", "spam")],
)
@pytest.mark.parametrize(
    ("truth", "actual"), [([0, 1], "spam"), (1, "spam"), ("1", "spam"), ("ham", "ham")]
)
def test_a_label_map_applies_to_answers_and_truths(
    answer: object, predicted: str, truth: object, actual: str
) -> None:
    (cell,) = judged(MAP, answer, truth).confusion
    assert (cell.predicted, cell.actual) == (predicted, actual)


def test_a_label_map_renames_the_messages_names() -> None:
    entry = {"labels": {"t:0": "setosa", "t:2": "virginica"}}
    file = {"models": [{"match": "seldon/*", **entry}]}
    answer = {"data": {"names": ["t:0", "t:1", "t:2"], "ndarray": [[0.1, 0.2, 0.7]]}}
    for truth in ([[0, 0, 1]], [2], ["t:2"], ["virginica"]):
        model = only(
            [
                event(RESPONSE, answer),
                event(FEEDBACK, {"truth": {"data": {"ndarray": truth}}}),
            ],
            file,
        )
        assert (model.correct, list(model.classes)) == (1, ["virginica"])


def test_a_label_map_can_join_classes() -> None:
    entry = {"labels": {"husky": "dog", "poodle": "dog"}}
    assert judged(entry, "husky", "poodle").correct == 1


def test_a_reward_alone_implies_the_other_of_two_labels() -> None:
    """Counting rule 8, under a label map."""
    file = {"models": [{"match": "seldon/iris", **MAP}]}
    answer = event(RESPONSE, {"data": {"ndarray": [[0.93]]}})
    (cell,) = only([answer, event(FEEDBACK, {"reward": 0})], file).confusion
    assert (cell.predicted, cell.actual) == ("spam", "ham")


def test_a_map_of_labels_does_not_make_them_the_only_two() -> None:
    file = {"models": [{"match": "seldon/iris", **MAP}]}
    answer = event(RESPONSE, {"data": {"ndarray": [1]}})
    model = only([answer, event(FEEDBACK, {"reward": 0})], file)
    assert (model.unknown_actual, model.confusion) == (1, ())


def test_a_label_that_is_too_long_is_not_scorable() -> None:
    """The limit of label lengths applies to the labels of the models file too."""
    assert judged({"labels": {"1": "x" * 300}}, 1, 1).judged == 0


def test_a_changed_file_applies_to_new_events() -> None:
    """Events that were decoded before a change of the file keep their label."""
    rules = parse_rules({"models": [{"match": "seldon/iris", **MAP}]}, "file")
    decoder = Decoder(rules, Telemetry())
    answer = event(RESPONSE, {"data": {"ndarray": [1]}})
    before: Any = meaning(decoder.decode(*answer))
    rules.replace([])
    after: Any = meaning(decoder.decode(*answer))
    assert [one.answers[0].label for one in (before, after)] == ["spam", "1"]
