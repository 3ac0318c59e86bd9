"""The request logger's role: writing the source's events to Elasticsearch as documents."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError

from processor.archive.elasticsearch.request_log import RequestLog
from processor.backfill.retry_loop import RetryLoop
from processor.domain.events.raw_event import RawEvent
from processor.domain.events.request_log import Logged, read_logged
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.source_topics import SourceTopics
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: The most records of one round.
_MAX_RECORDS = 500


class RequestLogger(RetryLoop):
    """Reads the source with a separate consumer group, so that it may lag behind the counting.

    Offsets are committed after the documents are written; writing a document again changes nothing.
    """

    def __init__(
        self,
        kafka: Kafka,
        source: SourceTopics,
        group: str,
        log: RequestLog,
        telemetry: Telemetry,
    ) -> None:
        super().__init__("request logger")
        self._kafka = kafka
        self._source = source
        self._group = group
        self._log = log
        self._telemetry = telemetry

    async def run(self) -> None:
        """Read and write until cancelled; while a server is away, try again with backoff."""
        await self._run_forever(self._consume)

    async def _consume(self) -> str:
        """Read and write until an error, or until other topics exist."""
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
            max_poll_records=_MAX_RECORDS,
            metadata_max_age_ms=30_000,
        )
        async with running(consumer):
            while not self._source.have_changed(topics):
                await self._round(consumer)
                self.last_error = ""

    async def _round(self, consumer: AIOKafkaConsumer) -> None:
        fetched = await consumer.getmany(timeout_ms=500)
        events: list[Logged] = []
        for messages in fetched.values():
            for message in messages:
                timestamp = message.timestamp * 1_000_000
                events += read_logged(RawEvent(message.headers, message.value, timestamp))
            await asyncio.sleep(0)
        if not fetched:
            return
        written = await self._log.write(events)
        self._telemetry.logged_documents += written.documents
        self._telemetry.logged_refused += written.refused
        try:
            await consumer.commit(
                {partition: messages[-1].offset + 1 for partition, messages in fetched.items()}
            )
        except (CommitFailedError, IllegalStateError) as error:
            logger.info(
                "commit of the request logger refused (%s); the records are read again", error
            )
