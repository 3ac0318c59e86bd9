"""Correction of the past: puts stored events on the log of an app that runs, or has run.

The folds are idempotent. An event that the log already has still counts once, an event that it never
had is added, and a later version of a prediction or feedback replaces the counted one.
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
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND
from processor.errors import SettingsError
from processor.kafka.clients import FAULTS, Kafka, explain, running
from processor.kafka.control_log import ControlLog
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics, existing
from processor.replay.selection import Selection
from processor.replay.sources import Access, read_sources
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

#: Observations sent together, and the number of such batches that may await acknowledgement.
_BATCH, _MAX_IN_FLIGHT = 10_000, 4


@dataclass(slots=True)
class Put:
    """Counts of a correction.

    ``read`` events were read, and ``put`` observations were put on the log. ``old`` of them are older
    than the horizon, and count only if their request is still in memory. ``not_understood`` has the
    dead letters by reason, which are not put on the log. ``damage`` is that of `Sink`.
    """

    read: int = 0
    put: int = 0
    old: int = 0
    not_understood: Counter[str] = field(default_factory=Counter)
    damage: Sequence[str] = ()


async def put_on_log(
    sources: Sequence[str], rules: ModelRules, selection: Selection, access: Access
) -> Put:
    """Put the events of the sources on the log of ``PROCESSOR_APP_ID``; they are durable on return.

    Only the names and ``as_of`` of the selection apply. `BrokerError` if the app has no log,
    `SettingsError` in the embedded mode.
    """
    settings = access.settings
    if settings.embedded:
        raise SettingsError(
            "PROCESSOR_BROKER is empty, and an embedded app has no log: send "
            "the events to its ingress ('processor send'), or set it to kafka://host:port"
        )
    kafka = Kafka(settings, settings.broker)
    topics = Topics.of(settings.app_id)
    try:
        log_id = await existing(kafka, settings)
        async with running(kafka.producer(linger_ms=5, request_timeout_ms=60_000)) as producer:
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
            # A bootstrap counts old requests without keeping them in memory.
            keeps_all_since = 0 if control.cursors else control.created_at
            sink = _LogSink(
                decoder, rules, selection, observation_producers, keeps_all_since, settings.horizon
            )
            await read_sources(sources, sink, access)
            await sink.finish()
    except FAULTS as error:
        raise explain(error, settings.broker) from None
    return sink.result()


class _LogSink:
    """A `Sink` that sends observations to the log in batches."""

    def __init__(
        self,
        decoder: Decoder,
        rules: ModelRules,
        selection: Selection,
        observation_producers: Sequence[ObservationProducer],
        keeps_all_since: int,
        horizon: int,
    ) -> None:
        """``keeps_all_since`` is the time at which the log was created (ns), or 0 if it has counted
        requests without keeping them in memory; ``horizon`` is in seconds.

        One of the two ``observation_producers`` sends new observations, the other one sends the
        observations that count only if their request is in memory.
        """
        self.read = 0
        self.damage: list[str] = []
        self._put = self._old = self._waiting = 0
        self._decoder = decoder
        self._documents = DocumentReader(rules, decoder.telemetry)
        self._selection = selection
        self._new, self._if_present = observation_producers
        self._keeps_all_since = keeps_all_since
        self._horizon = horizon * SECOND
        self._in_flight: deque[list[asyncio.Future[object]]] = deque()

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
            # One by one: each event of a batched one is old or new by itself.
            for observation in decoded.observations:
                self._add_observations((observation,), cutoff)

    def add_row(self, row: TableRow) -> DeadLetter | None:
        """See `Sink`."""
        self.read += 1
        found = self._decoder.decode_row(row)
        if isinstance(found, DeadLetter):
            return found
        self._add_observations(found, self._cutoff())
        return None

    def add_documents(self, documents: Sequence[Document]) -> None:
        """See `Sink`."""
        cutoff = self._cutoff()
        for document in documents:
            self.read += 1
            self._add_observations(self._documents.read(document).observations, cutoff)

    def add_bad(self, letter: DeadLetter) -> None:
        """See `Sink`."""
        self.read += 1
        self._decoder.count_dead_letter(letter)

    async def wait_for_room(self) -> None:
        """See `Sink`."""
        if self._waiting >= _BATCH:
            await self._send()
        while len(self._in_flight) > _MAX_IN_FLIGHT:
            await asyncio.gather(*self._in_flight.popleft())

    async def finish(self) -> None:
        """Send the remaining observations, and wait until all are durable."""
        await self._send()
        while self._in_flight:
            await asyncio.gather(*self._in_flight.popleft())

    def result(self) -> Put:
        """The counts of everything that was added."""
        dead_letters = self._decoder.telemetry.dead_letters
        return Put(self.read, self._put, self._old, dead_letters, self.damage)

    async def _send(self) -> None:
        self._waiting = 0
        self._in_flight.append(
            [*await self._new.send(), *await self._if_present.send(IngestMode.IF_PRESENT)]
        )

    def _cutoff(self) -> int:
        """The time (ns) from which every request of the log is in memory; 0 if none has left it yet."""
        cutoff = in_memory_from(time.time_ns(), self._horizon)
        return cutoff if self._keeps_all_since < cutoff else 0

    def _add_observations(self, decoded: Sequence[Prediction | Feedback], cutoff: int) -> None:
        """Add the selected observations of one event or document.

        If its oldest time is before ``cutoff``, its request has left memory, and was counted before
        that if it was ever on the log. Such observations count only if their request is in memory.
        """
        observations = [each for each in decoded if self._is_selected(each)]
        if not observations:
            return
        is_old = min(each.time for each in observations) < cutoff
        observation_producer = self._if_present if is_old else self._new
        for each in observations:
            observation_producer.add_observation(each)
        self._put += len(observations)
        self._old += len(observations) * is_old
        self._waiting += len(observations)

    def _is_selected(self, observation: Prediction | Feedback) -> bool:
        key = observation.model if isinstance(observation, Prediction) else observation.scope
        as_of = self._selection.as_of
        return self._selection.matches(key) and (as_of is None or observation.time <= as_of)
