"""Results that are stored in Elasticsearch: their mapping, and that old ones stay readable."""

import json
from pathlib import Path

import msgspec

from processor.archive.elasticsearch import results
from processor.archive.stored_result import StoredResult
from processor.domain.results import ModelResult

OLD = Path(__file__).parents[1] / "data" / "seed-experiment" / "contract.json"


def test_every_field_of_a_result_has_a_mapping() -> None:
    """The template is not dynamic: a field that it leaves out could not be searched."""
    stored = {*StoredResult.__struct_encode_fields__} - {"result"}
    properties = results._MAPPINGS["properties"]
    assert {*properties} == {"key", *stored, *ModelResult.__struct_encode_fields__}
    names = ("task", "judged", "predictions", "reward_sum", "r2")
    types = ["keyword", "long", "long", "double", "double"]
    assert [properties[name]["type"] for name in names] == types
    assert properties["macro"]["properties"]["f1"]["type"] == "double"
    for name in ("classes", "calibration", "nowcast"):
        assert properties[name] == {"type": "object", "enabled": False}


def test_a_result_from_before_later_fields_is_readable() -> None:
    """It has none of the fields that were added since: each of them needs a default."""
    (old,) = json.loads(OLD.read_text())["models"]
    result = msgspec.convert(old, ModelResult)
    assert (result.kappa, result.task, result.targets) == (old["kappa"], None, None)
