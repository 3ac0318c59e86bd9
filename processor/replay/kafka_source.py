"""A source topic read from its first record to what was its last one when reading began."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from processor.domain.events import RawEvent
from processor.errors import BrokerError, SettingsError

#: Seconds without a record after which a read has failed.
_PATIENCE = 60.0
_RECORDS = 5000
_FETCH_BYTES = 4 << 20
#: Topics that a message lists at most.
_NAMED = 10


class KafkaSource:
    """All partitions of ``topic``, without a consumer group; an async context manager.

    All of it is read, whatever times are asked for: the feedback of a prediction can be any later,
    and neither's own time is bound to that of its record. Its methods raise `BrokerError`.
    """

    def __init__(self, topic: str, servers: tuple[str, ...], options: Mapping[str, Any]) -> None:
        """``options`` are aiokafka's for the connection. `SettingsError` without a broker."""
        if not servers:
            raise SettingsError(
                f"the source kafka:{topic} is on the broker of PROCESSOR_BROKER: set it to "
                "kafka://host:port"
            )
        if not topic:
            raise SettingsError("the source kafka: names no topic: write it as kafka:TOPIC")
        self.topic = topic
        self.total = 0
        """Records there are to read, about."""
        self._servers = servers
        self._options = {**options, "bootstrap_servers": list(servers)}
        self._consumer: AIOKafkaConsumer | None = None
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        try:
            partitions = [TopicPartition(self.topic, number) for number in await self._numbers()]
            self._consumer = consumer = AIOKafkaConsumer(
                **self._options,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=_FETCH_BYTES,
                max_poll_records=_RECORDS,
            )
            await consumer.start()
            consumer.assign(partitions)
            self._starts = await consumer.beginning_offsets(partitions)
            self._ends = await consumer.end_offsets(partitions)
            for partition, start in self._starts.items():
                consumer.seek(partition, start)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._stop()
            raise self._explain(error) from None
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
        """The events in batches, each with how many of ``total`` are read by then."""
        consumer, ends = self._consumer, self._ends
        if consumer is None:
            raise RuntimeError("the source is not open")
        next_offsets = dict(self._starts)
        left = {partition for partition, end in ends.items() if self._starts[partition] < end}
        limit = time.monotonic() + _PATIENCE
        try:
            while left:
                found = await consumer.getmany(*left, timeout_ms=500)
                events: list[RawEvent] = []
                for partition in tuple(left):
                    records = found.get(partition, ())
                    end = ends[partition]
                    events += [
                        RawEvent(record.headers, record.value, record.timestamp * 1_000_000)
                        for record in records
                        if record.offset < end
                    ]
                    # Offsets without records (markers of transactions) move the position too.
                    reached = records[-1].offset + 1 if records else 0
                    if not records and not found:
                        reached = await consumer.position(partition)
                    if reached > next_offsets[partition]:
                        next_offsets[partition] = min(reached, end)
                        limit = time.monotonic() + _PATIENCE
                    if next_offsets[partition] >= end:
                        left.discard(partition)
                if events:
                    yield events, sum(next_offsets.values()) - sum(self._starts.values())
                if time.monotonic() > limit:
                    raise BrokerError(
                        f"kafka:{self.topic} gives no records for {_PATIENCE:.0f} s: "
                        f"{len(left)} of its partitions are not read to their end"
                    )
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._explain(error) from None

    async def _numbers(self) -> Sequence[int]:
        """The topic's partitions; asked for by name a missing topic could be made by the broker."""
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            topics = sorted(name for name in await admin.list_topics() if not name.startswith("__"))
            if self.topic not in topics:
                there = ", ".join(topics[:_NAMED]) or "none"
                more = f" and {len(topics) - _NAMED} more" if len(topics) > _NAMED else ""
                raise BrokerError(
                    f"Kafka at {', '.join(self._servers)} has no topic {self.topic}: check its "
                    f"name; there are: {there}{more}"
                )
            (described,) = await admin.describe_topics([self.topic])
            return [each["partition"] for each in described["partitions"]]
        finally:
            await admin.close()

    async def _stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    def _explain(self, error: BaseException) -> BrokerError:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return BrokerError(
            f"Kafka at {', '.join(self._servers)} failed: {what}: check PROCESSOR_BROKER"
        )
