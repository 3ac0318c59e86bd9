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
