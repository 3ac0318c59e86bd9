"""A correction of the past: stored events put on the log of an app that runs, or has run.

The fold takes repeats, so what the log has counts once still; what it never had is added, and a later
version takes the old count back.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from processor.backfill.bootstrap_policy import in_memory_from
from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.event_lines import NO_TIME
from processor.domain.events.events_file import BadLine, parse_lines
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND
from processor.errors import SettingsError
from processor.kafka.clients import FAULTS, Kafka, explain
from processor.kafka.control_log import ControlLog
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics, existing
from processor.replay.fold import Selection
from processor.replay.sources import Access, read_sources
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

#: Observations that go to the log together, and how many such batches may be on their way.
_BATCH, _IN_FLIGHT = 10_000, 4


@dataclass(slots=True)
class Put:
    """What became of the events. ``old`` of those that were put on the log are older than the
    horizon, and count only where their request is still in memory."""

    read: int = 0
    put: int = 0
    old: int = 0
    not_understood: Counter[str] = field(default_factory=Counter)


async def put_on_log(
    sources: Sequence[str], rules: ModelRules, selection: Selection, access: Access
) -> Put:
    """Put what the sources hold on the log of `PROCESSOR_APP_ID`; durable on return.

    Of the selection, its names and ``as_of`` are heeded. `BrokerError` where the app has no log.
    """
    settings = access.settings
    if settings.embedded:
        raise SettingsError(
            "PROCESSOR_BROKER is empty, and the log of an embedded app is gone when it ends: send "
            "the events to its ingress ('processor send'), or set it to kafka://host:port"
        )
    kafka = Kafka(settings, settings.broker)
    topics = Topics.of(settings.app_id)
    try:
        log_id = await existing(kafka, settings)
        producer = kafka.producer(linger_ms=5, request_timeout_ms=60_000)
        try:
            await producer.start()
            control = ControlLog(LogReader(kafka, topics.control, 0), producer, topics.control)
            await control.refresh()
            decoder = Decoder(rules, Telemetry())
            observation_producers = [
                ObservationProducer(
                    decoder,
                    producer,
                    topics.observations,
                    topics.dead_letters,
                    settings.partitions,
                    log_id,
                )
                for _ in range(2)
            ]
            # A bootstrap counts old requests and does not keep them.
            keeps_all_since = 0 if control.cursors else control.made
            sink = _LogSink(
                decoder, rules, selection, observation_producers, keeps_all_since, settings.horizon
            )
            await read_sources(sources, sink, access)
            await sink.finish()
        finally:
            await producer.stop()
    except FAULTS as error:
        raise explain(error, settings.broker) from None
    return sink.result()


class _LogSink:
    """Takes what is read, and sends it in batches."""

    def __init__(
        self,
        decoder: Decoder,
        rules: ModelRules,
        selection: Selection,
        observation_producers: Sequence[ObservationProducer],
        keeps_all_since: int,
        horizon: int,
    ) -> None:
        """``keeps_all_since`` is when the log was made (ns), 0 where it has counted requests that it
        did not keep; ``horizon`` in seconds."""
        self.read = 0
        self._put = self._old = self._waiting = 0
        self._decoder = decoder
        self._documents = DocumentReader(rules, decoder.telemetry)
        self._selection = selection
        self._fresh, self._known_only = observation_producers
        self._keeps_all_since = keeps_all_since
        self._horizon = horizon * SECOND
        self._flying: deque[list[asyncio.Future[object]]] = deque()

    def add_lines(self, block: bytes, first: int) -> list[BadLine]:
        """See `Sink`."""
        bad: list[BadLine] = []
        events: list[RawEvent] = []
        for event in parse_lines(block, first, NO_TIME):
            if isinstance(event, BadLine):
                self.add_bad(event.letter)
                bad.append(event)
            else:
                events.append(event)
        self.add(events)
        return bad

    def add(self, events: Iterable[RawEvent]) -> None:
        """See `Sink`."""
        decode, cutoff = self._decoder.decode, self._cutoff()
        for event in events:
            decoded = decode(*event)
            self.read += decoded.events
            for observation in decoded.observations:
                self._take((observation,), cutoff)

    def add_documents(self, documents: Sequence[Document]) -> None:
        """See `Sink`."""
        cutoff = self._cutoff()
        for document in documents:
            self.read += 1
            self._take(self._documents.read(document).observations, cutoff)

    def add_bad(self, letter: DeadLetter) -> None:
        """See `Sink`."""
        self.read += 1
        self._decoder.count_dead_letter(letter)

    async def settle(self) -> None:
        """See `Sink`."""
        if self._waiting >= _BATCH:
            await self._send()
        while len(self._flying) > _IN_FLIGHT:
            await asyncio.gather(*self._flying.popleft())

    async def finish(self) -> None:
        """Send what is left, and wait until all is durable."""
        await self._send()
        while self._flying:
            await asyncio.gather(*self._flying.popleft())

    def result(self) -> Put:
        """What became of all that was added."""
        return Put(self.read, self._put, self._old, self._decoder.telemetry.dead_letters)

    async def _send(self) -> None:
        self._waiting = 0
        self._flying.append(
            [*await self._fresh.send(), *await self._known_only.send(IngestMode.IF_PRESENT)]
        )

    def _cutoff(self) -> int:
        """The time from which on a request is in memory, if it was ever on the log; while nothing has
        left memory yet, it is so for all."""
        cutoff = in_memory_from(time.time_ns(), self._horizon)
        return cutoff if self._keeps_all_since < cutoff else 0

    def _take(self, observations: Sequence[Prediction | Feedback], cutoff: int) -> None:
        """Take what one event or document says: what is older than memory was counted before it left,
        if it was on the log, and goes with that mark (as in a bootstrap, by the oldest time)."""
        found = [one for one in observations if self._wants(one)]
        if not found:
            return
        is_old = min(one.time for one in found) < cutoff
        observation_producer = self._known_only if is_old else self._fresh
        for one in found:
            observation_producer.add_observation(one)
        self._put += len(found)
        self._old += len(found) * is_old
        self._waiting += len(found)

    def _wants(self, one: Prediction | Feedback) -> bool:
        key = one.model if isinstance(one, Prediction) else one.scope
        as_of = self._selection.as_of
        return self._selection.names(key) and (as_of is None or one.time <= as_of)
