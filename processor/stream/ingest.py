"""Consume the source topics and produce observation batches; commit offsets once the batches are
acknowledged."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from processor.backoff import LONGEST, Backoff
from processor.domain.native import use_native
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.lag import PartitionPosition
from processor.kafka.patches import record_batches
from processor.kafka.source_topics import SourceTopics
from processor.stream.observation_producer import ObservationProducer

logger = logging.getLogger(__name__)

#: The most records per poll, and the most polls whose batches are not acknowledged yet.
_MAX_RECORDS, _MAX_IN_FLIGHT = 10_000, 4
#: Seconds between polls near the end of the source: each record of the log has a fixed cost at every
#: hop, so a slow stream of events must not become as many records as events.
_POLL_EVERY = 0.1
#: Seconds between commits.
_COMMIT_EVERY = 1.0
#: Timeout (s) of the last commit: an orderly stop does not wait for a broker that is away.
_LAST_COMMIT = 2.0
#: Seconds of reading after which a fault is a new one, not the last one that continues.
_RECOVERED_AFTER = 60.0

#: The next offset, and the time (ms) of the record before it, as the text of the commit's metadata.
_Position = tuple[int, str]


class SourceIngest:
    """Reads the source topics with a separate consumer group, from the earliest record on.

    Records that are read twice (after a failed commit or a rebalance) are harmless: the fold ignores
    repeats. ``check_for_gap`` is awaited with the topics each time before reading starts, and returns
    the time (ns) of the newest record that was read before, None if it is not known; ``fail`` is called
    with an error that must end the process.
    """

    def __init__(
        self,
        kafka: Kafka,
        source: SourceTopics,
        group: str,
        observation_producer: ObservationProducer,
        fail: Callable[[BaseException], None],
        check_for_gap: Callable[[tuple[str, ...]], Awaitable[int | None]],
    ) -> None:
        self._kafka = kafka
        self._source = source
        self._group = group
        self._observation_producer = observation_producer
        self._fail = fail
        self._check_for_gap = check_for_gap
        self._positions: dict[TopicPartition, int] = {}
        self.lag: int | None = None
        """Records between the position and the source's end, when last measured; None before."""
        self.last_error = ""
        """Why the source can't be read at the moment; empty if it can."""
        self.newest = 0
        """The time (ns) of the newest record of the source that was read, by this worker or by the group
        before it; 0 if none is known."""
        self._backlog: _Backlog | None = None

    @property
    def has_caught_up(self) -> bool:
        """Whether all records are on the log that its partitions of the source held when it began to
        read them; also if no source topic exists."""
        if self._source.checked and not self._source.existing:
            return True
        return self._backlog is not None and self._backlog.done

    async def run(self) -> None:
        """Read until cancelled; while the broker is away, try again with backoff."""
        backoff = Backoff(0.5, LONGEST)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._consume()
            except FAULTS as error:
                if asyncio.get_running_loop().time() - started > _RECOVERED_AFTER:
                    backoff.reset()
                self.last_error = str(await self._kafka.explain(error))
                logger.debug(
                    "%s; reading the source again in %.1f s", self.last_error, backoff.delay
                )
                await backoff.sleep()

    async def _consume(self) -> None:
        topics = await self._source.wait()
        self.newest = max(self.newest, await self._check_for_gap(topics) or 0)
        consumer = self._kafka.consumer(
            group_id=self._group,
            max_poll_records=_MAX_RECORDS,
            value_deserializer=record_batches if use_native else None,
            # No other consumer is in the group, and topics may be created later.
            metadata_max_age_ms=30_000,
        )
        backlog = self._backlog = _Backlog()
        consumer.subscribe(topics, listener=backlog)
        async with running(consumer):
            try:
                await self._pump(consumer, topics, backlog)
            finally:
                self._positions = {}

    async def _pump(
        self, consumer: AIOKafkaConsumer, topics: tuple[str, ...], backlog: "_Backlog"
    ) -> None:
        """Read until cancelled, or until other topics exist than the given ones."""
        clock = asyncio.get_running_loop().time
        in_flight: deque[tuple[list[asyncio.Future[object]], dict[TopicPartition, _Position]]] = (
            deque()
        )
        acknowledged: dict[TopicPartition, _Position] = {}
        commit_due = clock() + _COMMIT_EVERY
        observation_producer = self._observation_producer
        try:
            while not self._source.have_changed(topics):
                started = clock()
                found = await consumer.getmany(timeout_ms=200)
                if found:
                    positions = await self._add(found)
                    times = [int(time) * 1_000_000 for _, time in positions.values()]
                    self.newest = max(self.newest, *times)
                    futures = await observation_producer.send()
                    for future in futures:
                        future.add_done_callback(_retrieve_error)
                    in_flight.append((futures, positions))
                while in_flight and (
                    not found
                    or len(in_flight) > _MAX_IN_FLIGHT
                    or all(future.done() for future in in_flight[0][0])
                ):
                    futures, positions = in_flight.popleft()
                    await self._wait_for(futures)
                    acknowledged.update(positions)
                    backlog.on_log(positions)
                if acknowledged and clock() >= commit_due:
                    await self._commit(consumer, acknowledged)
                    acknowledged.clear()
                    commit_due = clock() + _COMMIT_EVERY
                await self._measure_lag(consumer)
                if backlog.has_joined:
                    self.last_error = ""
                if not backlog.done:
                    await backlog.check(consumer, is_idle=not in_flight)
                if (self.lag or 0) < _MAX_RECORDS // 10:
                    await asyncio.sleep(max(0.0, started + _POLL_EVERY - clock()))
        finally:
            # Otherwise the next start reads the last second's records again, or does not notice that
            # retention removed them.
            if acknowledged:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_COMMIT):
                        await self._commit(consumer, acknowledged)

    async def _add(
        self, found: Mapping[TopicPartition, Sequence[Any]]
    ) -> dict[TopicPartition, _Position]:
        """Add records to the producer of observations, and return the positions after them.

        A position holds the time of its last record: from this time on records are lost if retention
        removes them before they are read.
        """
        observation_producer, positions = self._observation_producer, {}
        if not use_native:
            for partition, messages in found.items():
                observation_producer.add_records(partition.topic, partition.partition, messages)
                positions[partition] = messages[-1].offset + 1, str(messages[-1].timestamp)
                # Other tasks need the event loop; a batch must not block it for long.
                await asyncio.sleep(0)
            return positions
        # A batch of each partition in turn, so that a prediction and its feedback come close together.
        for batches in zip_longest(*found.values()):
            for partition, batch in zip(found, batches, strict=True):
                if batch is not None:
                    last = observation_producer.add_batch(
                        partition.topic, partition.partition, batch
                    )
                    positions[partition] = batch.end, str(last)
            await asyncio.sleep(0)
        return positions

    async def _wait_for(self, futures: "list[asyncio.Future[object]]") -> None:
        try:
            await asyncio.gather(*futures)
        except Exception as error:
            # The producer has given up after its own retries. The next start reads the records again
            # that were not committed.
            self._fail(error)
            raise

    async def _commit(
        self, consumer: AIOKafkaConsumer, positions: dict[TopicPartition, _Position]
    ) -> None:
        assigned = consumer.assignment()
        committed = {one: position for one, position in positions.items() if one in assigned}
        if not committed:
            return
        try:
            await consumer.commit(committed)
        except (CommitFailedError, IllegalStateError) as error:
            # A rebalance came first: the partitions' new owner reads the records again.
            logger.info("commit of the source refused (%s); its records are read again", error)
        except KafkaError as error:
            logger.warning("commit of the source failed: %s", error)

    async def _measure_lag(self, consumer: AIOKafkaConsumer) -> None:
        """Measure the lag of the partitions that were polled; of others the end is not known yet."""
        ends = {
            partition: end
            for partition in consumer.assignment()
            if (end := consumer.highwater(partition)) is not None
        }
        try:
            self._positions = {partition: await consumer.position(partition) for partition in ends}
        except IllegalStateError:
            return  # the partition was revoked meanwhile
        self.lag = sum(max(0, end - self._positions[partition]) for partition, end in ends.items())

    def positions(self) -> dict[TopicPartition, PartitionPosition]:
        """Return the position in each partition that it reads."""
        return {
            partition: PartitionPosition(offset, True, offset)
            for partition, offset in self._positions.items()
        }


class _Backlog(ConsumerRebalanceListener):  # type: ignore[misc]
    """The records that the partitions of the source held when their reading began: ``done`` once all
    are on the log. Partitions that come from another worker later are not looked at."""

    def __init__(self) -> None:
        self.done = False
        self.has_joined = False
        self._ends: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {}

    def on_partitions_revoked(self, revoked: object) -> None:
        """See `ConsumerRebalanceListener`."""

    def on_partitions_assigned(self, assigned: object) -> None:
        """See `ConsumerRebalanceListener`."""
        self.has_joined = True

    def on_log(self, positions: Mapping[TopicPartition, _Position]) -> None:
        """Note that the records before these positions are on the log."""
        self._reached.update({partition: offset for partition, (offset, _) in positions.items()})

    async def check(self, consumer: AIOKafkaConsumer, is_idle: bool) -> None:
        """Note whether the ends are reached. ``is_idle``: all that was read is on the log."""
        if not self.has_joined:
            return
        assigned = consumer.assignment()
        if not assigned <= self._ends.keys():
            self._ends |= await consumer.end_offsets(list(assigned - self._ends.keys()))
        try:
            for partition in assigned:
                reached = self._reached.get(partition, 0)
                if reached < self._ends[partition] and is_idle:
                    reached = await consumer.position(partition)
                if reached < self._ends[partition]:
                    return
        except IllegalStateError:
            return  # the partition was revoked meanwhile
        self.done = True


def _retrieve_error(future: "asyncio.Future[object]") -> None:
    """Mark a send's error as retrieved. The first failed send raises where it is awaited; the sends
    behind it are not awaited any more, and asyncio would log their errors."""
    if not future.cancelled():
        future.exception()
