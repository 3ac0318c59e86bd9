"""A new app on Kafka, into which a savepoint is loaded."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processor.domain.savepoint.contents import End, Header, SourcePosition
from processor.domain.savepoint.loading import LoadRecord
from processor.domain.timestamps import SECOND
from processor.errors import SavepointError
from processor.kafka.clients import Kafka, running
from processor.kafka.control_log import ControlRecord, encode_control
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings
from processor.telemetry import product_version

#: Positions by group.
Positions = dict[str, dict[TopicPartition, OffsetAndMetadata]]

#: The most bytes of records that are not acknowledged yet.
_MAX_IN_FLIGHT = 32 << 20


class KafkaApp:
    """A `StateSink`. No worker starts on its log before `finish`; a load that ended before that can be
    repeated, with the same savepoint and release."""

    def __init__(
        self,
        settings: Settings,
        kafka: Kafka,
        log_id: str,
        producer: AIOKafkaProducer,
        positions: Positions,
    ) -> None:
        self.log_id = log_id
        self.partitions = settings.partitions
        self._kafka = kafka
        self._positions = positions
        self._topics = Topics.of(settings.app_id)
        self._producer = producer
        self._in_flight: list[asyncio.Future[object]] = []
        self._bytes = 0

    async def send(self, records: Iterable[LoadRecord]) -> None:
        """See `StateSink`."""
        for deltas, partition, value in records:
            topic = self._topics.deltas if deltas else self._topics.observations
            self._in_flight.append(await self._producer.send(topic, value, partition=partition))
            self._bytes += len(value)
            if self._bytes >= _MAX_IN_FLIGHT:
                await self._wait()

    async def _wait(self) -> None:
        in_flight, self._in_flight, self._bytes = self._in_flight, [], 0
        await asyncio.gather(*in_flight)

    async def finish(self, header: Header, end: End, size: int) -> None:
        """See `StateSink`."""
        await self._wait()
        await self._commit_positions()
        for record in control_records(header, end, size, time.time_ns()):
            await self._producer.send_and_wait(
                self._topics.control, encode_control(record), partition=0
            )

    async def _commit_positions(self) -> None:
        for group, positions in self._positions.items():
            async with running(self._kafka.consumer(group_id=group)) as consumer:
                consumer.assign(list(positions))
                await consumer.commit(positions)


def control_records(header: Header, end: End, size: int, now: int) -> list[ControlRecord]:
    """The records of the control topic with which a load of a savepoint of so many bytes ends."""
    # In another app with a longer horizon too, older requests have left memory.
    evicted = max(end.evicted, header.taken_at - header.horizon * SECOND)
    records = [ControlRecord("evicted", position=evicted)]
    if header.outcomes_since is not None:
        records.append(ControlRecord("outcomes", position=header.outcomes_since))
    if header.gap_since is not None:
        records.append(ControlRecord("gap", position=header.gap_since))
    records += [
        ControlRecord("cursor", source=source, position=position)
        for source, position in header.cursors.items()
    ]
    if header.done:
        records.append(ControlRecord("done"))
    loaded = ControlRecord(
        "loaded",
        savepoint=savepoint_name(header),
        position=now,
        created_at=header.taken_at,
        size=size,
        requests=end.requests,
    )
    return [*records, loaded]


async def source_positions(
    settings: Settings, kafka: Kafka, sources: Sequence[SourcePosition]
) -> Positions:
    """The positions at which the groups of a new app go on, by group. Topics that are not here are left
    out. `SavepointError` if a topic ends before its position: then it is another one of the same
    name."""
    known = set(await kafka.partitions(sorted({each.topic for each in sources})))
    found: Positions = {}
    if not known:
        # A consumer that stops before its tasks have run lets out their cancellation.
        return found
    async with running(kafka.consumer()) as consumer:
        ends = await consumer.end_offsets(sorted(known))
    for each in sources:
        place = TopicPartition(each.topic, each.partition)
        if place not in known:
            continue
        if ends[place] < each.offset:
            raise SavepointError(
                f"topic {place.topic}/{place.partition} ends at {ends[place]}, and the savepoint has "
                f"read it up to {each.offset}: it was recreated; load with --without-source, to read "
                "the source topics from their starts"
            )
        group = f"{settings.app_id}-{each.group}"
        found.setdefault(group, {})[place] = OffsetAndMetadata(each.offset, each.metadata)
    return found


def savepoint_name(header: Header) -> str:
    """Name a savepoint and the release that loads it: another release may send other records."""
    return f"{header.id}/{product_version()}"


@asynccontextmanager
async def opened(settings: Settings, kafka: Kafka, header: Header) -> AsyncIterator[KafkaApp]:
    """Create the topics of a new app, or find those of a load that ended early. `SavepointError` if the
    app has a state."""
    load = ControlRecord(
        "epoch", savepoint=savepoint_name(header), created_at=header.created_at or header.taken_at
    )
    positions = await source_positions(settings, kafka, header.sources)
    log_id = await prepare(kafka, settings, load=load)
    async with running(kafka.producer(linger_ms=5, request_timeout_ms=60_000)) as producer:
        yield KafkaApp(settings, kafka, log_id, producer, positions)
