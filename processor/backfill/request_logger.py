"""The request logger's role: what the source carries goes to Elasticsearch as documents."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError

from processor.archive.elasticsearch.request_log import RequestLog
from processor.backfill.retry_loop import RetryLoop
from processor.domain.events.raw_event import RawEvent
from processor.domain.events.request_log import Logged, read_logged
from processor.kafka.clients import FAULTS, Kafka
from processor.kafka.source_topics import SourceTopics
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Records of one round.
_ROUND = 500


class RequestLogger(RetryLoop):
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
        super().__init__("request logger")
        self._kafka = kafka
        self._source = SourceTopics(kafka, topics)
        self._group = group
        self._log = log
        self._telemetry = telemetry

    async def run(self) -> None:
        """Until cancelled; what is away is tried again, with backoff."""
        await self._run_forever(self._consume)

    async def _consume(self) -> str:
        """Until something goes wrong, or a topic appears that was missing."""
        try:
            await self._log.prepare()
            await self._read(await self._source.wait())
        except FAULTS as error:
            raise await self._kafka.explain(error) from None
        return ""

    async def _read(self, topics: tuple[str, ...]) -> None:
        consumer = self._kafka.consumer(
            *topics,
            group_id=self._group,
            max_poll_records=_ROUND,
            metadata_max_age_ms=30_000,
        )
        try:
            await consumer.start()
            while not await self._source.have_changed():
                await self._round(consumer)
                self.last_error = ""
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
