"""The pages of the documentation against the code that they describe: each list of names on a page is
the list that the code has, and each example says what the code makes of it."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec
import pytest
import yaml

from processor.cli.main import cli
from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import parse_line
from processor.domain.events.payloads.forms import FIRST, read_forms
from processor.domain.events.payloads.json_bodies import _Data, _Message
from processor.domain.events.raw_event import REASONS
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules, Rule, Targets, parse_rules
from processor.domain.results import CellCount, ClassResult, Events, MeanResult, ModelResult, Replay
from processor.domain.values import NOT_SCORABLE
from processor.errors import SettingsError
from processor.models_file import read_models, read_models_file
from processor.publish.interfaces import BootstrapState, OwnedPartitions, Problem, Readiness
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.docs.pages import DOCS, ROOT, text
from tests.support.domain.decoding import meaning
from tests.support.events.answer_rows import said

KINDS = ("Tutorial", "How-to guide", "Reference", "Explanation", "Index")


def section(page: str, heading: str) -> str:
    """What stands on a page under a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)",
        text(page),
        re.MULTILINE | re.DOTALL,
    )
    assert found, f"docs/{page} has no {heading!r}"
    return found[1]


def first_cells(markdown: str) -> list[str]:
    """The names in backticks in the first column of the tables, in their order."""
    rows = re.findall(r"^\| ?(.*?) ?\|", markdown, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def blocks(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page",
    [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "decisions"],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_a_page_says_first_of_which_kind_it_is(page: Path) -> None:
    first = page.read_text(encoding="utf-8").split("\n\n")[1]
    assert first.startswith(tuple(f"{kind}{end}" for kind in KINDS for end in ":.")), first


def test_the_counting_rules_have_their_numbers() -> None:
    numbers = re.findall(r"^### Rule (\d+): ", text("counting.md"), re.MULTILINE)
    assert len(numbers) >= 23
    assert [*map(int, numbers)] == [*range(1, len(numbers) + 1)]


def test_every_container_is_in_rule_5() -> None:
    rule = section("counting.md", "### Rule 5: payloads")
    members = [*msgspec.structs.fields(_Message), *msgspec.structs.fields(_Data)]
    containers = {one.encode_name for one in members} - {"data", "names", "parameters", "status"}
    assert {name for name in containers if f"`{name}`" not in rule} == set()


def test_rows_have_the_labels_that_the_rules_say() -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| .*? \| (.*) \|$",
        section("counting.md", "### Rule 4: the label of a row"),
        re.MULTILINE,
    )
    assert len(rows) > 8
    for row, cell in rows:
        found = read_forms([json.loads(row)], FIRST)
        ((label, _),) = said(found, Rule("*/*"))
        expected = "none" if label is None else f"`{label.removeprefix('!')}`"
        assert expected in cell, row


# Commands


def commands(command: click.Command, name: str) -> Iterable[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child_name in command.list_commands(context):
        child = command.get_command(context, child_name)
        assert child is not None
        yield from commands(child, f"{name} {child_name}")


def options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }


def test_every_command_and_option_is_documented() -> None:
    found = dict(commands(cli, "processor"))
    headings = re.findall(r"^## `(processor .*?)`$", text("cli.md"), re.MULTILINE)
    assert sorted(headings) == sorted(found)
    shared = options(found["processor replay"]) - {"--into"}
    for name, command in found.items():
        listed = {each for each in first_cells(section("cli.md", f"## `{name}`")) if each[0] == "-"}
        if name == "processor report":
            listed |= shared  # it says that it takes these
        assert listed - {"-"} == options(command), name


def test_the_options_of_examples_exist() -> None:
    found = dict(commands(cli, "processor"))
    for page in ("cli.md", "dead-letters.md", "start.md", "events-file.md", "settings.md"):
        for line in "".join(blocks(text(page), "sh")).replace("\\\n", " ").splitlines():
            command = line.partition(" # ")[0].partition("processor ")[2]
            name = next(
                (name for name in found if f"processor {command} ".startswith(f"{name} ")), ""
            )
            used = set(re.findall(r"(?<=\s)--[a-z-]+", command))
            assert not command or used <= options(found[name]), line


# Files


def test_the_lines_of_the_events_file_are_a_prediction_and_its_feedback() -> None:
    lines = blocks(section("events-file.md", "## Two lines that work"), "json")
    decoder = Decoder(ModelRules(), Telemetry())
    prediction, feedback = (
        meaning(decoder.decode(*parse_line(line.encode(), 1, -1))) for line in lines
    )
    assert isinstance(prediction, Prediction)
    assert isinstance(feedback, Feedback)
    assert prediction.request_id == feedback.request_id
    headers = [set(json.loads(line)["headers"]) for line in lines]
    table = section("events-file.md", "## The five headers that are enough").partition("More that")[
        0
    ]
    assert headers == [{name for name in first_cells(table) if name.startswith("ce-")}] * 2

    fold = ReplayFold(ModelRules(), Selection())
    fold.add_lines("".join(lines).encode(), 1)
    (example,) = (each for each in blocks(text("result-json.md"), "json") if '"models"' in each)
    assert json.loads(msgspec.json.encode(fold.result())) == json.loads(example)


def test_the_bodies_of_the_events_file_are_read() -> None:
    decoder = Decoder(ModelRules(), Telemetry())
    prediction, feedback = (
        json.loads(line)
        for line in blocks(section("events-file.md", "## Two lines that work"), "json")
    )
    rows = re.findall(
        r"^\| (prediction|feedback)\b.*?\| `(.+)` \|$",
        section("events-file.md", "## The body"),
        re.MULTILINE,
    )
    assert rows
    for kind, body in rows:
        event = prediction if kind == "prediction" else feedback
        line = json.dumps({"headers": event["headers"], "data": json.loads(body)}).encode()
        found = meaning(decoder.decode(*parse_line(line, 1, -1)))
        assert isinstance(found, Prediction if kind == "prediction" else Feedback), (body, found)
    assert not decoder.telemetry.not_scorable


def test_the_example_of_the_models_file_is_valid(tmp_path: Path) -> None:
    example, limits, own = blocks(text("models-file.md"), "yaml")
    path = tmp_path / "models.yaml"
    path.write_text(example)
    assert len(read_models_file(path).entries) == 3
    assert parse_rules(yaml.safe_load(limits), "limits").entries[0].targets == (
        Targets(floor=0.65, feedback_every=604_800)
    )
    assert parse_rules(yaml.safe_load(own), "own").entries[0].statistics == (
        "shop.costs:CostMatrix",
    )


def test_every_key_of_the_models_file_is_documented_with_its_default() -> None:
    table = section("models-file.md", "# The models file").partition("\n## ")[0]
    found = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \| ", table, re.MULTILINE))
    known = {field.name: field.default for field in msgspec.structs.fields(Rule)}
    assert found.keys() == known.keys()
    for name, default in known.items():
        if default is not None and default is not msgspec.NODEFAULT:
            assert found[name] == f"`{json.dumps(default).strip(chr(34))}`", name


def test_the_errors_of_the_models_file_are_those() -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| `(.+)` \|$", section("models-file.md", "## Errors"), re.MULTILINE
    )
    assert len(rows) > 3
    for line, message in rows:
        key, _, value = line.partition(": ")
        entry = {"match": "a/b", key: json.loads(value) if value[0] in "[0123456789" else value}
        with pytest.raises(SettingsError) as error:
            read_models({"models": [entry]})
        assert str(error.value).endswith(message)


# Results, reasons, routes


def names(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def test_every_field_of_a_result_is_documented() -> None:
    page = "result-json.md"
    assert first_cells(section(page, "## The result")) == names(Replay)
    assert first_cells(section(page, "## A model")) == names(ModelResult)
    assert first_cells(section(page, "## The events")) == names(Events)
    model = section(page, "## A model")
    for struct in (CellCount, ClassResult, MeanResult):
        assert all(f"`{name}`" in model for name in names(struct)), struct


def test_every_field_of_readiness_is_documented() -> None:
    ready = section("http.md", "## `GET /ready`")
    assert first_cells(ready) == ["wait", *names(Readiness), *names(Problem)]
    for struct in (BootstrapState, OwnedPartitions):
        assert all(f"`{name}`" in ready for name in names(struct)), struct


def test_every_reason_is_documented() -> None:
    dead_letters = first_cells(section("dead-letters.md", "## Unreadable events"))
    assert sorted(dead_letters) == sorted(REASONS)
    others = first_cells(section("dead-letters.md", "## Outcomes that are not counted"))
    assert sorted(others) == sorted((*NOT_SCORABLE, "rows_differ", "ambiguous"))


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
