"""The request logger's role: what the source carries goes to Elasticsearch as documents."""

import asyncio
import logging
import random

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError

from processor.archive.elasticsearch_log import RequestLog
from processor.domain.events import RawEvent
from processor.domain.logged import Logged, read_logged
from processor.domain.telemetry import Telemetry
from processor.errors import ArchiveError
from processor.stream.connection import FAULTS, Kafka, explain

logger = logging.getLogger(__name__)

#: Records of one round.
_ROUND = 500
_BACKOFF_MOST = 60.0


class RequestLogger:
    """Reads the source with a group of its own, so that it may lag behind the counting.

    Records are committed once their documents are written, and writing them again changes nothing.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: tuple[str, ...],
        group: str,
        log: RequestLog,
        telemetry: Telemetry,
    ) -> None:
        self.trouble = ""
        """Why nothing is written at the moment."""
        self._kafka = kafka
        self._topics = topics
        self._group = group
        self._log = log
        self._telemetry = telemetry

    async def run(self) -> None:
        """Until cancelled; what is away is tried again, with backoff."""
        delay = 1.0
        while True:
            try:
                await self._log.prepare()
                await self._consume()
            except ArchiveError as error:
                trouble = str(error)
            except FAULTS as error:
                trouble = str(explain(error, self._kafka.servers))
            if trouble != self.trouble:
                logger.warning("request logger: %s; trying again", trouble)
                delay = 1.0
            self.trouble = trouble
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 2, _BACKOFF_MOST)

    async def _consume(self) -> None:
        consumer = self._kafka.consumer(
            *self._topics,
            group_id=self._group,
            max_poll_records=_ROUND,
            metadata_max_age_ms=30_000,
        )
        try:
            await consumer.start()
            while True:
                await self._round(consumer)
                self.trouble = ""
        finally:
            await consumer.stop()

    async def _round(self, consumer: AIOKafkaConsumer) -> None:
        found = await consumer.getmany(timeout_ms=500)
        events: list[Logged] = []
        for messages in found.values():
            for message in messages:
                timestamp = message.timestamp * 1_000_000
                events += read_logged(RawEvent(message.headers, message.value, timestamp))
            await asyncio.sleep(0)
        if not found:
            return
        written = await self._log.write(events)
        self._telemetry.logged_documents += written.documents
        self._telemetry.logged_refused += written.refused
        try:
            await consumer.commit(
                {partition: messages[-1].offset + 1 for partition, messages in found.items()}
            )
        except (CommitFailedError, IllegalStateError) as error:
            logger.info("commit of the request logger refused (%s); it reads again", error)
