"""The examples of the page of answer forms say what the code makes of them."""

import json
import re

import msgspec
import pytest
import yaml

from processor.domain.events.payloads.forms import Choice
from processor.domain.events.payloads.json_bodies import Judgement, read_feedback, read_response
from processor.domain.model_rules import Rule
from tests.docs.pages import text
from tests.support.events.answer_rows import said

ROWS = re.findall(
    r"^\| ([^|]+) \| (?:`([^`]+)` )?\| `(\{.*\})` \| `(.*)` \|$", text("answer-forms.md"), re.M
)


def test_every_row_of_the_table_is_an_example() -> None:
    assert len(ROWS) == len(re.findall(r"^\| .* `\{", text("answer-forms.md"), re.MULTILINE)) > 20


@pytest.mark.parametrize(("server", "entry", "body", "labels"), ROWS, ids=[row[0] for row in ROWS])
def test_an_example(server: str, entry: str, body: str, labels: str) -> None:
    json.loads(body)
    rule = msgspec.convert({"match": "*/*", **(yaml.safe_load(entry) if entry else {})}, Rule)
    found = read_response(body.encode(), Choice.of(rule))
    assert " ".join(str(label) for label, _ in said(found, rule)) == labels
    judged = read_feedback(f'{{"truth": {body}}}'.encode(), Choice.of(rule))
    assert isinstance(judged, Judgement)
    assert judged.truth == found
