"""Items that cannot be scored are counted once: those of a prediction where it is decoded, those of a
truth where it meets the prediction."""

import json

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry


def test_the_item_of_a_prediction() -> None:
    assert decoded("inference.response", {"data": {"ndarray": [[0.5, 0.5], {"a": "b"}]}}) == {
        "no_maximum": 1,
        "shape": 1,
    }


@pytest.mark.parametrize("truth", [[None], [{"a": "b"}], [[0.5, 0.5]]])
def test_the_row_of_a_truth_is_counted_at_the_join(truth: object) -> None:
    assert decoded("feedback", {"truth": truth}) == {}


def decoded(kind: str, body: object) -> dict[str, int]:
    headers = (
        ("ce_type", f"io.seldon.serving.{kind}".encode()),
        ("ce_inferenceservicename", b"model"),
        ("ce_requestid", b"r"),
        ("content-type", b"application/json"),
    )
    telemetry = Telemetry()
    found = Decoder(ModelRules(), telemetry).decode(headers, json.dumps(body).encode(), 1)
    assert len(found.observations) == 1
    return telemetry.not_scorable
