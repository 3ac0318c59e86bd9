"""The archive tasks of a worker: bootstrap, late-feedback look-ups, outcome write-back, the role of
the request logger, and the detection of records that the source has lost."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack

from aiokafka.errors import KafkaConnectionError

from processor.archive.base import Archive
from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.elasticsearch.request_log import RequestLog
from processor.backfill.bootstrap import Bootstrap
from processor.backfill.bootstrap_policy import in_memory_from
from processor.backfill.late_feedback import LateFeedbackLookup
from processor.backfill.outcome_writer import OutcomeWriter
from processor.backfill.request_logger import RequestLogger
from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import DocumentReader
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND, parse_time
from processor.errors import BrokerError
from processor.kafka.clients import FAULTS
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.kafka.source_gap import find_gap, oldest_record
from processor.kafka.source_topics import SourceTopics, request_logger_group, source_group
from processor.service.health import ServiceHealth
from processor.service.lifecycle import Guard, Leading, background
from processor.settings import Settings
from processor.stream.worker import StreamWorker
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds that a look-up of single requests waits for an archive that does not answer.
_LOOKUP_PATIENCE = 5.0
#: Seconds between reads of the control topic while the archive is being read.
_FOLLOW_EVERY = 1.0


class ArchiveTasks:
    """Starts the archive tasks of one worker, as its settings say."""

    def __init__(
        self,
        settings: Settings,
        rules: ModelRules,
        worker: StreamWorker,
        health: ServiceHealth,
        telemetry: Telemetry,
        source: SourceTopics | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._rules = rules
        self._worker = worker
        self._health = health
        self._telemetry = telemetry
        self._source_known = asyncio.Event()

    async def record_source_gap(self, topics: tuple[str, ...]) -> int | None:
        """Write to the control topic which records these source topics have lost, before they are read
        further. Returns the time (ns) of the newest record that was read so far, None if none is known.

        `KafkaConnectionError` if the control topic can't be read.
        """
        settings, control = self._settings, self._worker.control()
        try:
            await control.refresh()
        except BrokerError as error:
            raise KafkaConnectionError(str(error)) from None
        kept_from = self._in_memory_from(control.evicted)
        group = source_group(settings)
        old = control.created_at < kept_from
        gap = await find_gap(self._worker.kafka, topics, group, kept_from if old else None)
        if gap.records:
            self._telemetry.source_lost += gap.records
            logger.error(
                "the source has lost %d records before they were read (retention); %s",
                gap.records,
                "reading them from the archive"
                if settings.elasticsearch
                else "there is no archive to read them from",
            )
            since = control.created_at if gap.since is None else gap.since
            await control.write(ControlRecord("gap", position=since))
        self._source_known.set()
        return gap.newest

    def start(self, stack: AsyncExitStack, guard: Guard) -> None:
        """Start the tasks of an Elasticsearch archive, until the stack unwinds.

        Only the leader reads the archive (bootstrap), and all workers notice when it has been read.
        Every worker looks up late feedback and writes outcomes. Without Elasticsearch the bootstrap
        is complete at once.
        """
        settings, health = self._settings, self._health
        if not settings.elasticsearch:
            health.bootstrap_complete.set()
            return
        archive = ElasticsearchArchive(settings.archive, settings.index, settings)
        stack.push_async_callback(archive.close)
        if settings.bootstrap == "never":
            health.bootstrap_complete.set()
        else:
            bootstrap = self._bootstrap(archive)
            health.bootstrap = bootstrap.progress
            health.add(bootstrap, "archive")
            leading = Leading(lambda: guard(bootstrap.run()))
            self._worker.on_lead = leading.set
            stack.push_async_callback(leading.end)
            background(stack, guard(self._follow(self._worker.control())))
        # A look-up of single requests must not wait for long: its next round comes soon.
        impatient = ElasticsearchArchive(
            settings.archive, settings.index, settings, _LOOKUP_PATIENCE
        )
        stack.push_async_callback(impatient.close)
        self._start_lookups(impatient, stack, guard)
        if settings.request_logger and self._source is not None:
            log = RequestLog(settings.archive, settings, _LOOKUP_PATIENCE)
            stack.push_async_callback(log.close)
            group = request_logger_group(settings)
            request_logger = RequestLogger(
                self._worker.kafka, self._source, group, log, self._telemetry
            )
            health.add(request_logger, "archive")
            background(stack, guard(request_logger.run()))

    def _start_lookups(self, archive: Archive, stack: AsyncExitStack, guard: Guard) -> None:
        """Look up late feedback in the archive, and write outcomes to it, until the stack unwinds."""
        health, worker = self._health, self._worker
        lookup = LateFeedbackLookup(
            archive,
            self._rules,
            worker.control(),
            worker.observation_producer(Decoder(self._rules, self._telemetry)),
            worker.joins,
            self._telemetry,
            self._in_memory_from,
        )
        health.add(lookup, "archive")
        background(stack, guard(lookup.run(health.bootstrap_complete)))
        if self._settings.outcomes:
            writer = OutcomeWriter(archive, worker.joins, self._telemetry)
            health.add(writer, "archive", outcomes_waiting=lambda: writer.waiting)
            background(stack, guard(writer.run()))

    def _bootstrap(self, archive: ElasticsearchArchive) -> Bootstrap:
        settings = self._settings
        has_start = settings.bootstrap not in ("auto", "full")
        return Bootstrap(
            archive,
            DocumentReader(self._rules, self._telemetry),
            self._worker.control(),
            lambda: self._worker.observation_producer(Decoder(self._rules, self._telemetry)),
            self._telemetry,
            settings.horizon * SECOND,
            time.time_ns,
            self._oldest_record,
            self._source_known,
            since=parse_time(settings.bootstrap) if has_start else None,
            full=settings.bootstrap == "full",
            outcomes=settings.outcomes,
        )

    async def _oldest_record(self) -> int | None:
        topics = self._source.existing if self._source is not None else ()
        return await oldest_record(self._worker.kafka, topics)

    def _in_memory_from(self, evicted: int) -> int:
        return in_memory_from(time.time_ns(), self._settings.horizon * SECOND, evicted)

    async def _follow(self, control: ControlLog) -> None:
        """Read the control topic until it says that the bootstrap is complete."""
        while not control.done:
            await asyncio.sleep(_FOLLOW_EVERY)
            try:
                await control.refresh()
            except (*FAULTS, BrokerError) as error:
                logger.debug("control topic: %s", error)
        self._health.bootstrap_complete.set()
