"""The dead letters' topic read from outside, and letters put on the log after all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from processor.domain.events.dead_letters import (
    RETRIED,
    DeadLetterRecord,
    SourceOffset,
    read_dead_letter,
)
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, Prediction
from processor.errors import BrokerError
from processor.kafka.clients import Kafka
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings
from processor.stream.observation_producer import ObservationProducer

#: Letters that go to the log before their marks are written.
_CHUNK = 1000
_MS = 1_000_000


class DeadLetterTopic:
    """Reads the letters of one app. ``retried`` is filled as they are read: the time (ns) of the
    retry by the letter's id."""

    def __init__(self, kafka: Kafka, settings: Settings) -> None:
        self.name = Topics.of(settings.app_id).dead_letters
        self.retried: dict[str, int] = {}
        self._kafka = kafka

    async def scan(self, start: int) -> AsyncIterator[DeadLetterRecord]:
        """The letters kept from ``start`` (ns) on, partition by partition, each in order."""
        for partition, (begin, end) in enumerate(await self._bounds(start)):
            async for letter in self._read(partition, begin, end):
                yield letter

    async def find(self, name: str) -> DeadLetterRecord | None:
        """The letter of that id, with its retry noted; None if there is none."""
        partition, _, offset = name.partition("/")
        if not (partition.isdecimal() and offset.isdecimal()):
            return None
        bounds = await self._bounds(0)
        found = None
        if int(partition) < len(bounds):
            begin, end = bounds[int(partition)]
            if int(offset) >= begin:
                async for letter in self._read(int(partition), int(offset), end):
                    if letter.id == name:
                        found = letter
        return found

    async def _bounds(self, start: int) -> list[tuple[int, int]]:
        """The offsets to read, by partition. `BrokerError` if there is no such topic."""
        places = await self._kafka.partitions((self.name,))
        if not places:
            raise BrokerError(
                f"there is no topic {self.name} at {', '.join(self._kafka.servers)}: check "
                "PROCESSOR_APP_ID; the service makes it at its first start"
            )
        consumer = self._kafka.consumer()
        try:
            await consumer.start()
            begins = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
            if start > 0:
                found = await consumer.offsets_for_times(dict.fromkeys(places, start // _MS))
                for place, at in found.items():
                    begins[place] = ends[place] if at is None else at.offset
            return [(begins[place], ends[place]) for place in places]
        finally:
            await consumer.stop()

    async def _read(self, partition: int, begin: int, end: int) -> AsyncIterator[DeadLetterRecord]:
        async for records in LogReader(self._kafka, self.name, partition).read(begin, end):
            for record in records:
                name = f"{partition}/{record.offset}"
                letter = read_dead_letter(
                    name, record.headers, record.key, record.value, record.timestamp * _MS
                )
                if letter is not None:
                    yield letter
                else:
                    self._note(partition, record)

    def _note(self, partition: int, record: ConsumerRecord) -> None:
        for header, content in record.headers:
            if header == RETRIED:
                name = f"{partition}/{content.decode('utf-8', 'replace')}"
                self.retried.setdefault(name, record.timestamp * _MS)


class RetryProducer(ObservationProducer):
    """Reads events again: what is understood goes to the log, or nowhere where it is only ``dry``;
    what is not is kept as a letter already, and not kept again."""

    dry = False

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._taken = 0

    @classmethod
    def only(cls, decoder: Decoder) -> "RetryProducer":
        """One that sends nothing."""
        retry_producer = cls(decoder, None, "", "", 1, "")
        retry_producer.dry = True
        return retry_producer

    def read(self, event: RawEvent, origin: SourceOffset) -> DeadLetter | bool:
        """The new verdict; True if there is something to count, False if there is nothing."""
        before = self._taken
        verdict = self.add(event, origin)
        return verdict if verdict is not None else self._taken > before

    def add_dead_letter(
        self, event: RawEvent, letter: DeadLetter, origin: SourceOffset, key: bytes | None
    ) -> None:
        """Nothing: it is one already."""

    def add_observation(self, observation: Prediction | Feedback) -> None:
        """Take it."""
        self._taken += 1
        if not self.dry:
            super().add_observation(observation)


class Outcome(NamedTuple):
    """What became of the letters of one reason."""

    counted: int = 0
    nothing: int = 0
    unreadable: int = 0
    before: int = 0


class DeadLetterRetry:
    """Puts letters on the log with today's rules. An event that is there already counts once; a
    letter that went there is marked, and left out the next time: beyond the horizon nobody
    remembers what was counted."""

    def __init__(
        self, kafka: Kafka, settings: Settings, decoder: Decoder, topic: DeadLetterTopic
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._decoder = decoder
        self._topic = topic
        self._found: dict[str, Counter[str]] = {}

    async def run(
        self, wanted: Callable[[DeadLetterRecord], bool], start: int, dry: bool
    ) -> dict[str, Outcome]:
        """Retry the letters that are ``wanted``, kept from ``start`` on; outcomes by reason."""
        async for _ in self._topic.scan(start):
            pass  # for the marks: they come behind their letters
        if dry:
            await self._try_all(RetryProducer.only(self._decoder), None, wanted, start)
        else:
            log_id = await prepare(self._kafka, self._settings)
            topics = Topics.of(self._settings.app_id)
            producer = self._kafka.producer(linger_ms=2)
            await producer.start()
            try:
                retry_producer = RetryProducer(
                    self._decoder,
                    producer,
                    topics.observations,
                    topics.dead_letters,
                    self._settings.partitions,
                    log_id,
                )
                await self._try_all(retry_producer, producer, wanted, start)
            finally:
                await producer.stop()
        return {reason: Outcome(**counts) for reason, counts in sorted(self._found.items())}

    async def _try_all(
        self,
        retry_producer: RetryProducer,
        producer: AIOKafkaProducer | None,
        wanted: Callable[[DeadLetterRecord], bool],
        start: int,
    ) -> None:
        done: list[DeadLetterRecord] = []
        async for letter in self._topic.scan(start):
            if not wanted(letter):
                continue
            counts = self._found.setdefault(letter.letter.reason, Counter())
            if letter.id in self._topic.retried:
                counts["before"] += 1
                continue
            verdict = retry_producer.read(letter.event, letter.origin)
            if isinstance(verdict, DeadLetter):
                counts["unreadable"] += 1
                continue
            counts["counted" if verdict else "nothing"] += 1
            if verdict:
                done.append(letter)
            if len(done) >= _CHUNK:
                await self._put(retry_producer, producer, done)
                done = []
        await self._put(retry_producer, producer, done)

    async def _put(
        self,
        retry_producer: RetryProducer,
        producer: AIOKafkaProducer | None,
        dead_letters: list[DeadLetterRecord],
    ) -> None:
        """The observations first: a mark without them would lose the event."""
        if producer is None or not dead_letters:
            return
        await asyncio.gather(*await retry_producer.send())
        marks = []
        for letter in dead_letters:
            partition, _, offset = letter.id.partition("/")
            mark = producer.send(
                self._topic.name,
                key=b"",  # the client refuses a record with neither key nor value
                partition=int(partition),
                headers=[(RETRIED, offset.encode())],
            )
            marks.append(await mark)
        await asyncio.gather(*marks)
