"""PROCESSOR_SESSION_TIMEOUT: its values, and the error message if a broker refuses one."""

import pytest
from aiokafka.errors import InvalidSessionTimeoutError

from processor.errors import SettingsError
from processor.kafka.clients import Kafka
from processor.settings import Settings
from processor.stream.app import make_app

BROKER = "kafka://broker:9092"


@pytest.mark.parametrize(
    ("settings", "session", "heartbeat"),
    [
        ({"PROCESSOR_BROKER": BROKER}, 10, 1),
        ({"PROCESSOR_BROKER": BROKER, "PROCESSOR_SESSION_TIMEOUT": "2s"}, 2, 0.5),
        ({"PROCESSOR_BROKER": BROKER, "PROCESSOR_SESSION_TIMEOUT": "1m"}, 60, 1),
        ({"PROCESSOR_BROKER": BROKER, "PROCESSOR_SESSION_TIMEOUT": "3s"}, 3, 0.75),
    ],
)
def test_sessions_of_the_app(settings: dict[str, str], session: float, heartbeat: float) -> None:
    conf = make_app(Settings.from_env(settings), ("broker:9092",)).conf
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (session, heartbeat)
    assert conf.broker_rebalance_timeout >= session


@pytest.mark.parametrize("value", ["61s", "2", "0s", "soon", ""])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=f"PROCESSOR_SESSION_TIMEOUT='{value}'.*such as"):
        Settings.from_env({"PROCESSOR_SESSION_TIMEOUT": value})


async def test_a_refusal_names_the_setting() -> None:
    settings = Settings.from_env({"PROCESSOR_BROKER": BROKER, "PROCESSOR_SESSION_TIMEOUT": "2s"})
    message = str(await Kafka(settings, settings.broker).explain(InvalidSessionTimeoutError()))
    assert "broker:9092" in message
    assert "PROCESSOR_SESSION_TIMEOUT=2s" in message
    assert "group.min.session.timeout.ms" in message
