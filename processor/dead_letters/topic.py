"""The topic of the dead letters, read."""

from collections.abc import AsyncIterator

from aiokafka.structs import ConsumerRecord

from processor.domain.events.dead_letters import RETRIED, DeadLetterRecord, read_dead_letter
from processor.errors import BrokerError
from processor.kafka.clients import Kafka, running
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics
from processor.settings import Settings

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
        async with running(self._kafka.consumer()) as consumer:
            begins = await consumer.beginning_offsets(positions)
            ends = await consumer.end_offsets(positions)
            if start > 0:
                found = await consumer.offsets_for_times(dict.fromkeys(positions, start // _MS))
                for position, at in found.items():
                    begins[position] = ends[position] if at is None else at.offset
            return [(begins[position], ends[position]) for position in positions]

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
