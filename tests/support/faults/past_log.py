"""An app's log whose records the broker took in hours ago."""

from collections.abc import Sequence

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bench.support.rows import RIGHT, batch, feedback_row, model_keys, prediction_row
from processor.domain.log.deltas import partition_of
from processor.domain.log.records import encode
from processor.domain.timestamps import SECOND
from processor.kafka.clients import Kafka
from processor.kafka.topics import Topics, prepare, specs
from processor.settings import Settings


class PastLog:
    """An app's log that was written in the hours before this one, as a worker would have left it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka = Kafka(settings, settings.broker)
        self._partitions = settings.partitions
        self._log_id = ""

    async def write(
        self, hours: Sequence[tuple[int, Sequence[str]]], judged: int = 0, unmatched: int = 0
    ) -> None:
        """Per hour (ns) these requests; the first ``judged`` of each were judged right, and there is
        feedback for so many requests that nobody knows."""
        self._log_id = await prepare(self._kafka, self._settings)
        topic = Topics.of(self._settings.app_id).observations
        # Only so can a broker be made to hold what it took in hours ago.
        await self._clock(topic, "CreateTime")
        async with self._kafka.producer() as producer:
            for hour, ids in hours:
                unknown = [f"unknown-{hour}-{number}" for number in range(unmatched)]
                said = [*ids[:judged], *unknown]
                for partition in range(self._partitions):
                    here = [one for one in ids if partition_of(one, self._partitions) == partition]
                    heard = [
                        one for one in said if partition_of(one, self._partitions) == partition
                    ]
                    value = batch(
                        model_keys(1),
                        [prediction_row(one, 0, hour, 0) for one in here],
                        [feedback_row(one, 0, hour + SECOND, 0, RIGHT) for one in heard],
                        self._log_id,
                    )
                    await producer.send_and_wait(
                        topic, encode(value), partition=partition, timestamp_ms=hour // 1_000_000
                    )
        await self._clock(topic, "LogAppendTime")

    async def _clock(self, topic: str, kind: str) -> None:
        (spec,) = [
            spec
            for spec in specs(self._settings, Topics.of(self._settings.app_id))
            if spec.name == topic
        ]
        config = {**spec.config, "min.insync.replicas": "1", "message.timestamp.type": kind}
        admin = self._kafka.admin()
        await admin.start()
        try:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, config)
            (answer,) = await admin.alter_configs([resource])
            assert [error for error, *_ in answer.resources] == [0], answer
        finally:
            await admin.close()
