"""The topic of the dead letters, and the retry that puts their events on the log."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from processor.domain.events.dead_letters import (
    RETRIED,
    DeadLetterRecord,
    read_dead_letter,
)
from processor.domain.events.decoder import Decoded, Decoder
from processor.errors import BrokerError
from processor.kafka.clients import Kafka
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings
from processor.stream.observation_producer import ObservationProducer

#: The most letters whose observations go to the log before their marks are written.
_CHUNK = 1000
_MS = 1_000_000


class DeadLetterTopic:
    """Reads the dead letters of one app from Kafka.

    ``retried`` has the times (ns) of retries by the id of the letter, as far as letters were read.
    """

    def __init__(self, kafka: Kafka, settings: Settings) -> None:
        self.name = Topics.of(settings.app_id).dead_letters
        self.retried: dict[str, int] = {}
        self._kafka = kafka

    async def scan(self, start: int) -> AsyncIterator[DeadLetterRecord]:
        """Yield the letters kept from ``start`` (ns) on, partition by partition, each in order."""
        for partition, (begin, end) in enumerate(await self._bounds(start)):
            async for letter in self._read(partition, begin, end):
                yield letter

    async def find(self, name: str) -> DeadLetterRecord | None:
        """Return the letter with this id and note its retry; None if there is no such letter."""
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
        """Return the offsets [begin, end) by partition; `BrokerError` if the topic is missing."""
        positions = await self._kafka.partitions((self.name,))
        if not positions:
            raise BrokerError(
                f"there is no topic {self.name} at {', '.join(self._kafka.servers)}: check "
                "PROCESSOR_APP_ID; the service makes it at its first start"
            )
        consumer = self._kafka.consumer()
        try:
            await consumer.start()
            begins = await consumer.beginning_offsets(positions)
            ends = await consumer.end_offsets(positions)
            if start > 0:
                found = await consumer.offsets_for_times(dict.fromkeys(positions, start // _MS))
                for position, at in found.items():
                    begins[position] = ends[position] if at is None else at.offset
            return [(begins[position], ends[position]) for position in positions]
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
                name = f"{partition}/{content.decode('utf-8', 'reposition')}"
                self.retried.setdefault(name, record.timestamp * _MS)


class Outcome(NamedTuple):
    """The numbers of letters with one reason: whose events are counted now, mean nothing that counts,
    are unreadable still, and were counted by an earlier retry."""

    counted: int = 0
    nothing: int = 0
    unreadable: int = 0
    before: int = 0


class DeadLetterRetry:
    """Decodes the events of letters again and puts their observations on the log.

    An event that is on the log already counts once. A letter whose event went there is marked and left
    out the next time: beyond the horizon nothing else tells that the event was counted. Nothing of
    a letter is put on the log if a part of it is unreadable still.
    """

    def __init__(
        self, kafka: Kafka, settings: Settings, decoder: Decoder, topic: DeadLetterTopic
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._decoder = decoder
        self._topic = topic

    async def run(
        self, wanted: Callable[[DeadLetterRecord], bool], start: int, dry: bool
    ) -> dict[str, Outcome]:
        """Retry the ``wanted`` letters kept from ``start`` (ns) on; with ``dry``, nothing is sent.

        Returns the outcomes by reason.
        """
        async for _ in self._topic.scan(start):
            pass  # for the marks: they come behind their letters
        found: dict[str, Counter[str]] = {}
        letters = self._decode(wanted, start, found)
        if dry:
            async for _ in letters:
                pass
        else:
            await self._send(letters)
        return {reason: Outcome(**counts) for reason, counts in sorted(found.items())}

    async def _decode(
        self,
        wanted: Callable[[DeadLetterRecord], bool],
        start: int,
        found: dict[str, Counter[str]],
    ) -> AsyncIterator[tuple[DeadLetterRecord, Decoded]]:
        """Yield the letters that have observations now, and count all by reason in ``found``."""
        async for letter in self._topic.scan(start):
            if not wanted(letter):
                continue
            counts = found.setdefault(letter.letter.reason, Counter())
            if letter.id in self._topic.retried:
                counts["before"] += 1
                continue
            decoded = self._decoder.decode(*letter.event)
            if decoded.dead_letters:
                counts["unreadable"] += 1
            elif decoded.observations:
                counts["counted"] += 1
                yield letter, decoded
            else:
                counts["nothing"] += 1

    async def _send(self, letters: AsyncIterator[tuple[DeadLetterRecord, Decoded]]) -> None:
        log_id = await prepare(self._kafka, self._settings)
        topics = Topics.of(self._settings.app_id)
        producer = self._kafka.producer(linger_ms=2)
        await producer.start()
        try:
            observation_producer = ObservationProducer(
                self._decoder,
                producer,
                topics.observations,
                topics.dead_letters,
                self._settings.partitions,
                log_id,
            )
            sent: list[DeadLetterRecord] = []
            async for letter, decoded in letters:
                observation_producer.add_decoded(decoded, letter.origin, letter.key)
                sent.append(letter)
                if len(sent) >= _CHUNK:
                    await self._flush(observation_producer, producer, sent)
                    sent = []
            await self._flush(observation_producer, producer, sent)
        finally:
            await producer.stop()

    async def _flush(
        self,
        observation_producer: ObservationProducer,
        producer: AIOKafkaProducer,
        letters: list[DeadLetterRecord],
    ) -> None:
        """Send the observations, then the marks: a mark without them would lose the event."""
        await asyncio.gather(*await observation_producer.send())
        marks = []
        for letter in letters:
            partition, _, offset = letter.id.partition("/")
            mark = producer.send(
                self._topic.name,
                key=b"",  # the client refuses a record with neither key nor value
                partition=int(partition),
                headers=[(RETRIED, offset.encode())],
            )
            marks.append(await mark)
        await asyncio.gather(*marks)
