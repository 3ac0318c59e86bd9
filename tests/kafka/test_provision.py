"""What an administrator makes for an app: topics and rights, in three forms."""

import json
import re

import pytest
import yaml
from click.testing import CliRunner

from processor.cli.main import cli
from processor.kafka.provision import rights
from processor.kafka.topics import Topics, specs
from processor.settings import Settings
from tests.docs.pages import text


def output(*options: str, **settings: str) -> str:
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    made = CliRunner(env=env).invoke(cli, ["topics", *options])
    assert made.exit_code == 0, made.output
    return made.output


def test_text_names_every_topic_and_right() -> None:
    lines = output(app_id="quality", topics="events", partitions="12").splitlines()
    for spec in specs(Settings(app_id="quality"), Topics.of("quality")):
        (line,) = [each for each in lines if f" {spec.name} " in each]
        assert f"partitions={1 if spec.name.endswith('control') else 12}" in line
        assert all(f"{name}={value}" in line for name, value in spec.config.items())
    assert "  topic events: Read, Describe" in lines
    assert "  topic quality-*: Read, Write, Describe, DescribeConfigs, Create" in lines
    assert "  group quality*: Read, Describe" in lines


def test_commands_are_of_kafkas_tools() -> None:
    lines = output(
        "--format", "commands", "--principal", "User:CN=x y", broker="kafka://a:1,b:2"
    ).splitlines()
    topics = [
        line for line in lines if line.startswith("kafka-topics.sh --bootstrap-server a:1,b:2")
    ]
    assert len(topics) == len(Topics._fields)
    assert all("--config min.insync.replicas=2" in line for line in topics)
    acls = [line for line in lines if line.startswith("kafka-acls.sh ")]
    assert topics + acls == lines
    assert all("--allow-principal 'User:CN=x y'" in line for line in acls)
    prefixed = "--topic feedback-metrics- --resource-pattern-type prefixed --operation Read"
    assert sum(prefixed in line for line in acls) == 1
    assert sum("--cluster --operation Describe" in line for line in acls) == 1


def test_strimzis_resources_say_the_same() -> None:
    made = list(yaml.safe_load_all(output("--format", "strimzi", app_id="Quality_1", topics="a,b")))
    *topics, user = made
    wanted = specs(Settings(app_id="Quality_1"), Topics.of("Quality_1"))
    assert [each["spec"]["topicName"] for each in topics] == [spec.name for spec in wanted]
    # A name of Kubernetes has no capitals and no underscores.
    assert all(re.fullmatch(r"[a-z0-9-]+", each["metadata"]["name"]) for each in topics)
    assert {each["metadata"]["labels"]["strimzi.io/cluster"] for each in made} == {"my-cluster"}
    granted = user["spec"]["authorization"]["acls"]
    assert len(granted) == len(rights("Quality_1", ["a", "b"], create=True))
    assert json.dumps(
        {"type": "topic", "name": "Quality_1-", "patternType": "prefix"}
    ) in json.dumps(granted)


def test_without_the_right_to_create() -> None:
    assert "Create" not in output(create_topics="off")


@pytest.mark.parametrize(
    ("pattern", "name", "prefixed"),
    [
        (r"^seldon\.logs-.*", "seldon.logs-", True),
        (r"^.*logs", "*", False),
        (r"^a(b|c)", "a", True),
        (r"^ab*", "a", True),
        (r"^a\.?b", "a", True),
        (r"^ab|cd", "*", False),
    ],
)
def test_a_pattern_of_topics_is_a_prefix(pattern: str, name: str, prefixed: bool) -> None:
    """Of the letters that each of its topics begins with; `*` stands for all topics in Kafka."""
    (found, *_) = rights("a", [pattern], create=False)
    assert (found.name, found.prefixed, found.operations) == (name, prefixed, ("Read", "Describe"))


def test_the_documented_rights_are_these() -> None:
    """`tests/integration/security` runs workers that have no others."""
    rows = re.findall(
        r"^\| (topic|group|cluster)s? ?(.*?) \| (.*?) \|$", text("how-to/kafka.md"), re.M
    )
    documented = {
        (resource, name.strip("`")): tuple(operations.split(", "))
        for resource, name, operations in rows
    }
    found = {
        (right.resource, {"x": "SOURCE", "<app>-": "<app>-*", "<app>": "<app>*"}.get(right.name, "")):
        right.operations
        for right in rights("<app>", ["x"], create=True)
    }  # fmt: skip
    assert documented == found
