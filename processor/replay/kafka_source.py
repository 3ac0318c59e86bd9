"""Read a source topic from its first record to the one that was the last when reading began."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from processor.domain.events.raw_event import RawEvent
from processor.errors import BrokerError, SettingsError
from processor.kafka.clients import running
from processor.kafka.patches import patch_clients
from processor.kafka.reading import FAULTS, connection_error, explain, read_stretches
from processor.kafka.topic_names import source_candidates

_RECORDS = 5000
_FETCH_BYTES = 4 << 20
#: Maximum number of topics in a message.
_MAX_NAMES = 10


def _listed(topics: Set[str], wanted: str) -> str:
    """The names of possible source topics, the closest ones to ``wanted`` first. The topics of processor
    apps and the internal ones of Kafka and its clients are left out.

    >>> own = {f"a-{name}" for name in ("observations", "deltas", "control", "dead-letters")}
    >>> _listed({*own, "__consumer_offsets", "b-control", "logs", "zz-orders"}, "orders")
    'zz-orders, b-control, logs'
    """
    names = source_candidates(topics)
    close = get_close_matches(wanted, names, _MAX_NAMES)
    shown = [*close, *(name for name in names if name not in close)]
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return (", ".join(shown[:_MAX_NAMES]) or "none") + more


class KafkaSource:
    """Reads all partitions of a topic without a consumer group; an async context manager.

    The whole topic is read, whatever period is selected: feedback can arrive any time after its
    prediction, and the time of an event is not that of its record. The methods raise `BrokerError`.
    """

    def __init__(self, topic: str, servers: tuple[str, ...], options: Mapping[str, Any]) -> None:
        """Prepare to read ``topic`` from ``servers`` with aiokafka's connection ``options``.
        `SettingsError` without a server or a topic."""
        if not servers:
            raise SettingsError(
                f"the source kafka:{topic} needs PROCESSOR_BROKER: set it to kafka://host:port"
            )
        if not topic:
            raise SettingsError("the source kafka: names no topic: write it as kafka:TOPIC")
        self.topic = topic
        self.total = 0
        """The approximate number of records to read."""
        self._servers = servers
        self._options = {**options, "bootstrap_servers": list(servers)}
        self._consumer: AIOKafkaConsumer | None = None
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        patch_clients()
        try:
            partitions = [TopicPartition(self.topic, number) for number in await self._numbers()]
            self._consumer = consumer = AIOKafkaConsumer(
                **self._options,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=_FETCH_BYTES,
            )
            await consumer.start()
            consumer.assign(partitions)
            self._starts = await consumer.beginning_offsets(partitions)
            self._ends = await consumer.end_offsets(partitions)
        except FAULTS as error:
            await self._stop()
            reason = await connection_error(error, self._servers, self._options)
            raise explain(reason, self._servers) from None
        except BaseException:
            await self._stop()
            raise
        self.total = sum(self._ends.values()) - sum(self._starts.values())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def events(self) -> AsyncIterator[tuple[list[RawEvent], int]]:
        """The events in batches, each with the number of records read so far."""
        consumer, ends = self._consumer, self._ends
        if consumer is None:
            raise RuntimeError("the source is not open")
        read = 0
        try:
            async for batches in read_stretches(consumer, self._starts, ends, _RECORDS):
                events = [
                    RawEvent(record.headers, record.value, record.timestamp * 1_000_000)
                    for records in batches
                    for record in records
                ]
                read += len(events)
                yield events, read
        except FAULTS as error:
            raise explain(error, self._servers) from None

    async def _numbers(self) -> Sequence[int]:
        """The numbers of the topic's partitions. All topics are listed first, since a broker can create
        a missing topic when it is asked for by name."""
        async with running(AIOKafkaAdminClient(**self._options)) as admin:
            topics = set(await admin.list_topics())
            if self.topic not in topics:
                raise BrokerError(
                    f"Kafka at {', '.join(self._servers)} has no topic {self.topic}: check its "
                    f"name; there are: {_listed(topics, self.topic)}"
                )
            (described,) = await admin.describe_topics([self.topic])
            return [each["partition"] for each in described["partitions"]]

    async def _stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
