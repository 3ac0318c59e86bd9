"""Topics that differ from the settings of their log are refused, on a real broker."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from processor.errors import LogMismatchError
from processor.kafka.clients import Kafka, running
from processor.kafka.topics import Topics, prepare, specs
from processor.settings import Settings
from tests.support.servers import Broker


def _settings(kafka: Broker, app_id: str) -> Settings:
    return Settings.from_env(
        {
            "PROCESSOR_BROKER": f"kafka://{kafka.bootstrap}",
            "PROCESSOR_APP_ID": app_id,
            "PROCESSOR_PARTITIONS": "2",
        }
    )


async def test_the_same_settings_find_the_same_log(kafka: Broker, app_id: str) -> None:
    settings = _settings(kafka, app_id)
    clients = Kafka(settings, settings.broker)
    assert await prepare(clients, settings) == await prepare(clients, settings)


class _Hasty(Kafka):
    """Lists the topics for the first time when another worker has just begun to create them."""

    def admin(self) -> Any:
        admin = super().admin()
        list_now = admin.list_topics
        answers = iter([[Topics.of(self.settings.app_id).control]])

        async def list_topics() -> Any:
            return next(answers, None) or await list_now()

        admin.list_topics = list_topics
        return admin


async def test_two_first_starts_at_the_same_moment(kafka: Broker, app_id: str) -> None:
    """A topic that one of them does not see yet was not deleted."""
    settings = _settings(kafka, app_id)
    log_id = await prepare(Kafka(settings, settings.broker), settings)
    assert await prepare(_Hasty(settings, settings.broker), settings) == log_id


@pytest.mark.parametrize(
    ("change", "message"), [({"partitions": 3}, "PARTITIONS"), ({"horizon": 3600}, "HORIZON")]
)
async def test_settings_that_change_the_fold_are_refused(
    kafka: Broker, app_id: str, change: dict[str, int], message: str
) -> None:
    settings = _settings(kafka, app_id)
    clients = Kafka(settings, settings.broker)
    await prepare(clients, settings)
    with pytest.raises(LogMismatchError, match=message):
        await prepare(clients, replace(settings, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("log", ["observations", "deltas", "changelog"])
async def test_a_topic_that_was_deleted_is_not_created_again(
    kafka: Broker, app_id: str, log: str
) -> None:
    settings = _settings(kafka, app_id)
    clients = Kafka(settings, settings.broker)
    await prepare(clients, settings)
    name = getattr(Topics.of(app_id), log)
    async with running(clients.admin()) as admin:
        await admin.delete_topics([name])
        while name in await admin.list_topics():
            await asyncio.sleep(0.05)
    with pytest.raises(LogMismatchError, match=name):
        await prepare(clients, settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "3600000"),
        ("max.message.bytes", "100000"),
    ],
)
async def test_a_topic_that_was_changed_is_refused(
    kafka: Broker, app_id: str, name: str, value: str
) -> None:
    settings = _settings(kafka, app_id)
    clients = Kafka(settings, settings.broker)
    await prepare(clients, settings)
    (spec, *_) = specs(settings, Topics.of(app_id))
    changed = ConfigResource(ConfigResourceType.TOPIC, spec.name, {**spec.config, name: value})
    async with running(clients.admin()) as admin:
        await admin.alter_configs([changed])
    with pytest.raises(LogMismatchError, match=f"{spec.name} has {name}={value}"):
        await prepare(clients, settings)
