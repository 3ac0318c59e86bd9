"""A source topic read from its first record to what was its last one when reading began."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from processor.domain.events.raw_event import RawEvent
from processor.errors import BrokerError, SettingsError
from processor.kafka.reading import FAULTS, connection_error, explain, read_stretches

_RECORDS = 5000
_FETCH_BYTES = 4 << 20
#: Topics that a message lists at most.
_MAX_NAMES = 10
#: Behind the id of a processor app: the topics that it makes, and that Faust makes for it.
_OWN = (
    *("observations", "deltas", "control", "dead-letters", "confusion-changelog"),
    "__assignor-__leader",
)


def _listed(topics: Set[str], wanted: str) -> str:
    """The topics that a user can mean, the closest names first; those of a processor app, and those
    that Kafka and its clients keep for themselves, are left out.

    >>> own = {f"a-{name}" for name in ("observations", "deltas", "control", "dead-letters")}
    >>> _listed({*own, "__consumer_offsets", "b-control", "logs", "zz-orders"}, "orders")
    'zz-orders, b-control, logs'
    """
    apps = {
        name.removesuffix("-observations")
        for name in topics
        if name.endswith("-observations")
        and name.removesuffix("observations") + "control" in topics
    }
    own = {f"{app}-{suffix}" for app in apps for suffix in _OWN}
    names = sorted(name for name in topics - own if not name.startswith("__"))
    close = get_close_matches(wanted, names, _MAX_NAMES)
    shown = [*close, *(name for name in names if name not in close)]
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return (", ".join(shown[:_MAX_NAMES]) or "none") + more


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
        """The events in batches, each with how many of ``total`` are read by then."""
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
        """The topic's partitions; asked for by name a missing topic could be made by the broker."""
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            topics = set(await admin.list_topics())
            if self.topic not in topics:
                raise BrokerError(
                    f"Kafka at {', '.join(self._servers)} has no topic {self.topic}: check its "
                    f"name; there are: {_listed(topics, self.topic)}"
                )
            (described,) = await admin.describe_topics([self.topic])
            return [each["partition"] for each in described["partitions"]]
        finally:
            await admin.close()

    async def _stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
