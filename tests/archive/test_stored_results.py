"""The mapping of results that are stored in Elasticsearch."""

from processor.archive.elasticsearch import results
from processor.archive.stored_result import StoredResult
from processor.domain.results import ModelResult


def test_every_field_of_a_result_has_a_mapping() -> None:
    """The template is not dynamic: a field that it leaves out could not be searched."""
    stored = {*StoredResult.__struct_encode_fields__} - {"result"}
    mapped = {*results._MAPPINGS["properties"]}
    assert mapped == {"key", *stored, *ModelResult.__struct_encode_fields__}
