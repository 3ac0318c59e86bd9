"""The retry of dead letters: it puts events that can be decoded by now on the log."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from processor.dead_letters.listing import UNKNOWN_ID_HINT, Selection
from processor.dead_letters.store import open_dead_letters
from processor.dead_letters.topic import DeadLetterTopic
from processor.domain.events.dead_letters import RETRIED, DeadLetterRecord
from processor.domain.events.decoder import Decoded, Decoder
from processor.errors import ProcessorError
from processor.kafka.clients import Kafka, running
from processor.kafka.topics import Topics, prepare
from processor.models_file import read_models_file
from processor.settings import Settings
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

#: The most letters whose observations go to the log before their marks are written.
_CHUNK = 1000


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
        async with running(self._kafka.producer(linger_ms=2)) as producer:
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


async def retry_dead_letters(
    settings: Settings, selection: Selection, dry: bool
) -> dict[str, Outcome]:
    """Decode the selected letters again and put their observations on the log, unless ``dry``.

    Returns the outcomes by reason. `ProcessorError` in the embedded mode, and if a selected id does not
    exist.
    """
    async with open_dead_letters(settings) as dead_letters:
        if not isinstance(dead_letters, DeadLetterTopic):
            raise ProcessorError(
                "nothing can be retried in the embedded mode: to fold all events of the archive "
                "again, start the service once with PROCESSOR_BOOTSTRAP=full"
            )
        kafka = Kafka(settings, settings.broker)
        rules = read_models_file(settings.models, settings.custom_statistics)
        decoder = Decoder(rules, Telemetry())
        retry = DeadLetterRetry(kafka, settings, decoder, dead_letters)
        found: set[str] = set()

        def wanted(letter: DeadLetterRecord) -> bool:
            if not selection(letter):
                return False
            found.add(letter.id)
            return True

        outcomes = await retry.run(wanted, selection.start, dry)
    if missing := selection.ids - found:
        names = ", ".join(sorted(name[:60] for name in missing))
        raise ProcessorError(f"no dead letter {names!r} is among those selected: {UNKNOWN_ID_HINT}")
    return outcomes
