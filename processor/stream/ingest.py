"""The source topics onto the log: batches in, packed observations out, offsets committed after."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from processor.domain.native import use_native
from processor.kafka.clients import FAULTS, Kafka
from processor.kafka.lag import PartitionPosition
from processor.kafka.patches import record_batches
from processor.kafka.source_topics import SourceTopics
from processor.stream.observation_producer import ObservationProducer

logger = logging.getLogger(__name__)

#: Records taken at once, and how many such batches may be on their way to the log.
_BATCH, _IN_FLIGHT = 10_000, 4
#: Seconds between batches while the source's end is near: each record of the log has a fixed cost
#: at every hop, so a slow trickle must not become as many records as events.
_PACE = 0.1
_COMMIT_EVERY = 1.0
#: Seconds that the last commit may take: an orderly end does not wait for a broker that is away.
_LAST_COMMIT = 2.0
#: Seconds of reading after which a fault is a new one, not the last one still.
_WELL = 60.0

#: The next offset, and the time of the record before it as text (ms).
_Position = tuple[int, str]


class SourceIngest:
    """Reads the source topics with a consumer group of its own, from the earliest record there is.

    What is read twice (a commit that failed, a rebalance) is harmless: the fold takes repeats.
    ``look_for_gap`` is awaited before each start of reading.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: tuple[str, ...],
        group: str,
        observation_producer: ObservationProducer,
        fail: Callable[[BaseException], None],
        look_for_gap: Callable[[], Awaitable[None]],
    ) -> None:
        self._kafka = kafka
        self._source = SourceTopics(kafka, topics)
        self._group = group
        self._observation_producer = observation_producer
        self._fail = fail
        self._look_for_gap = look_for_gap
        self._positions: dict[TopicPartition, int] = {}
        self.lag: int | None = None
        """Records behind the source's end, when it was last known."""

    @property
    def last_error(self) -> str:
        """Which source topics are missing."""
        return self._source.last_error

    async def run(self) -> None:
        """Until cancelled; a broker that is away is tried again, with backoff."""
        delay = 0.5
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._consume()
            except FAULTS as error:
                if asyncio.get_running_loop().time() - started > _WELL:
                    delay = 0.5
                logger.warning(
                    "%s; reading the source again in %.1f s",
                    await self._kafka.explain(error),
                    delay,
                )
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, 30.0)

    async def _consume(self) -> None:
        topics = await self._source.wait()
        await self._look_for_gap()
        consumer = self._kafka.consumer(
            *topics,
            group_id=self._group,
            max_poll_records=_BATCH,
            value_deserializer=record_batches if use_native else None,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            rebalance_timeout_ms=10_000,
            # The group is ours alone, and topics may be made later.
            metadata_max_age_ms=30_000,
        )
        try:
            await consumer.start()
            await self._pump(consumer)
        finally:
            self._positions = {}
            await consumer.stop()

    async def _pump(self, consumer: AIOKafkaConsumer) -> None:
        """Read until cancelled, or a topic appears that was missing."""
        clock = asyncio.get_running_loop().time
        flying: deque[tuple[list[asyncio.Future[object]], dict[TopicPartition, _Position]]] = (
            deque()
        )
        done: dict[TopicPartition, _Position] = {}
        commit_due = clock() + _COMMIT_EVERY
        observation_producer = self._observation_producer
        try:
            while not await self._source.have_changed():
                started = clock()
                found = await consumer.getmany(timeout_ms=200)
                if found:
                    position = await self._take(found)
                    futures = await observation_producer.send()
                    for future in futures:
                        future.add_done_callback(_look_at)
                    flying.append((futures, position))
                while flying and (
                    not found or len(flying) > _IN_FLIGHT or all(f.done() for f in flying[0][0])
                ):
                    futures, position = flying.popleft()
                    await self._acknowledged(futures)
                    done.update(position)
                if done and clock() >= commit_due:
                    await self._commit(consumer, done)
                    done.clear()
                    commit_due = clock() + _COMMIT_EVERY
                await self._note_lag(consumer)
                if (self.lag or 0) < _BATCH // 10:
                    await asyncio.sleep(max(0.0, started + _PACE - clock()))
        finally:
            # Else the next start reads a second's records again, or can't tell that they are lost.
            if done:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_COMMIT):
                        await self._commit(consumer, done)

    async def _take(
        self, found: Mapping[TopicPartition, Sequence[Any]]
    ) -> dict[TopicPartition, _Position]:
        """Hand records to the packer; the positions after them.

        With the last record's time: it tells what is lost if retention overtakes us.
        """
        observation_producer, position = self._observation_producer, {}
        if not use_native:
            for partition, messages in found.items():
                observation_producer.add_records(partition.topic, partition.partition, messages)
                position[partition] = messages[-1].offset + 1, str(messages[-1].timestamp)
                # The loop has other work; a batch must not hold it for long.
                await asyncio.sleep(0)
            return position
        # In turn, so that what belongs together comes together.
        for batches in zip_longest(*found.values()):
            for partition, batch in zip(found, batches, strict=True):
                if batch is not None:
                    last = observation_producer.add_batch(
                        partition.topic, partition.partition, batch
                    )
                    position[partition] = batch.end, str(last)
            await asyncio.sleep(0)
        return position

    async def _acknowledged(self, futures: "list[asyncio.Future[object]]") -> None:
        try:
            await asyncio.gather(*futures)
        except Exception as error:
            # The producer has given up after its own retries: what is not committed is read again
            # by the next start.
            self._fail(error)
            raise

    async def _commit(
        self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, _Position]
    ) -> None:
        held = consumer.assignment()
        mine = {partition: offset for partition, offset in offsets.items() if partition in held}
        if not mine:
            return
        try:
            await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError) as error:
            # A rebalance came first; whoever holds the partitions now reads the records again.
            logger.info("commit of the source refused (%s); it is read again", error)
        except KafkaError as error:
            logger.warning("commit of the source failed: %s", error)

    async def _note_lag(self, consumer: AIOKafkaConsumer) -> None:
        """Only of partitions that were asked for records: before, neither end nor place is known."""
        ends = {
            partition: end
            for partition in consumer.assignment()
            if (end := consumer.highwater(partition)) is not None
        }
        try:
            self._positions = {partition: await consumer.position(partition) for partition in ends}
        except IllegalStateError:
            return  # taken away meanwhile
        self.lag = sum(max(0, end - self._positions[partition]) for partition, end in ends.items())

    def positions(self) -> dict[TopicPartition, PartitionPosition]:
        """Where it stands in each partition that it reads."""
        return {
            partition: PartitionPosition(offset, True, offset)
            for partition, offset in self._positions.items()
        }


def _look_at(future: "asyncio.Future[object]") -> None:
    """A failed send is raised where it is waited for; of those behind it nobody asks any more."""
    if not future.cancelled():
        future.exception()
