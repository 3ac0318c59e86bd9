"""The values of settings that have several forms."""

import pytest

from processor.errors import SettingsError
from processor.settings import Settings


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ()),
        ("kafka://a:1", ("a:1",)),
        ("kafka://a:1,b:2", ("a:1", "b:2")),
        ("kafka://a:1, b:2", ("a:1", "b:2")),
        ("kafka://a:1;b:2", ("a:1", "b:2")),
        ("kafka://a:1,kafka://b:2", ("a:1", "b:2")),
        ("kafka://a:1; kafka://b:2", ("a:1", "b:2")),
        ("kafka://[::1]:9092,10.0.0.1:9092", ("[::1]:9092", "10.0.0.1:9092")),
    ],
)
def test_brokers(text: str, servers: tuple[str, ...]) -> None:
    assert Settings.from_env({"PROCESSOR_BROKER": text}).broker == servers


@pytest.mark.parametrize(
    "text",
    ["a:1", "http://a:1", "kafka://a", "kafka://a:1,", "kafka://a:1 b:2", "kafka://a:1|b:2",
     "kafka://a:1/b:2", "kafka://a:1,http://b:2", "kafka://u:p@a:1", "kafka://a:0"],
)  # fmt: skip
def test_wrong_brokers_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"PROCESSOR_BROKER=.* is not valid"):
        Settings.from_env({"PROCESSOR_BROKER": text})


def test_topics_are_names_and_patterns() -> None:
    found = Settings.from_env({"PROCESSOR_TOPICS": " a.b , ^seldon-(x|y)$,c"})
    assert found.topics == ("a.b", "^seldon-(x|y)$", "c")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a b", "'a b' is not a Kafka topic name.*begin a pattern with"),
        ("^a{1,3}", r"'\^a\{1' is not|'3\}' is not a Kafka topic name"),
        ("^a(", "is not a regular expression .*comma"),
        (" , ", "name one topic at least"),
    ],
)
def test_wrong_topics_are_refused(text: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        Settings.from_env({"PROCESSOR_TOPICS": text})


@pytest.mark.parametrize("text", ["", "file:///shared/a b", "s3://bucket", "s3://my.bucket/a/b"])
def test_the_store_of_snapshots_is_a_folder_or_a_bucket(text: str) -> None:
    assert Settings.from_env({"PROCESSOR_SNAPSHOTS": text}).snapshots == text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("/shared", "use file:///folder or s3://bucket/prefix"),
        ("file://shared", "use file:///folder"),
        ("gs://bucket/a", "use file:///folder"),
        ("s3://", "use file:///folder"),
        ("s3://bucket/a?region=x", "use file:///folder"),
        ("s3://key:hidden@bucket/a", r"s3://\*\*\*@bucket/a.*use AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_wrong_store_of_snapshots_is_refused(text: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match) as raised:
        Settings.from_env({"PROCESSOR_SNAPSHOTS": text})
    assert "hidden" not in str(raised.value)


def test_settings_without_effect_are_listed() -> None:
    assert Settings.from_env({}).without_effect() == []
    broker = {"PROCESSOR_BROKER": "kafka://h:1"}
    on_kafka = {**broker, "PROCESSOR_OUTCOMES": "on", "PROCESSOR_ARCHIVE": "sqlite:x"}
    lines = Settings.from_env(on_kafka).without_effect()
    assert [line.partition(" ")[0] for line in lines] == [
        "PROCESSOR_OUTCOMES=on",
        "PROCESSOR_ARCHIVE=sqlite:",
    ]
    (line,) = Settings.from_env({"PROCESSOR_REQUEST_LOGGER": "on"}).without_effect()
    assert "without Elasticsearch" in line
    (line,) = Settings.from_env({"PROCESSOR_SNAPSHOTS": "file:///shared"}).without_effect()
    assert "without PROCESSOR_BROKER" in line
