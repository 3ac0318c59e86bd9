"""All replacements and subclasses of private parts of aiokafka and Faust, with `connection.py`.

Nothing here is an API of these libraries, so setup.cfg pins them to `PATCHED_VERSIONS`, and
tests/kafka/test_patches.py fails when a pinned version or one of the parts changes. Each section says
why its patch is needed, and so when it can be removed.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiokafka import client as client_module
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.structs import ConsumerRecord, TopicPartition

from processor.kafka.connection import patch_connections

#: The releases that the patches were written for and tested with.
PATCHED_VERSIONS = {
    "aiokafka": "0.14.0",
    "faust-streaming": "0.15.3",
    "mode-streaming": "0.7.1",
}


def patch_clients() -> None:
    """Patch aiokafka in this process: a large response comes in one piece (see `connection.py`), a start
    that is cancelled leaves no connection open, consumers accept any header name, and return whole
    batches where `record_batches` is the ``value_deserializer``. Further calls change nothing."""
    patch_connections()
    client_module.create_conn = _create_conn
    AIOKafkaClient.bootstrap = _bootstrap
    fetcher.MemoryRecords = _LenientRecords
    fetcher.PartitionRecords = _PartitionRecords


# -- A start that is cancelled
#
# The first connection of a client is in a local variable of aiokafka's `bootstrap`, which closes it
# after an error, but not when it is cancelled: the socket stays open until the garbage collector finds
# it, and the task that reads it is destroyed while it is pending.

_plain_create_conn, _plain_bootstrap = client_module.create_conn, AIOKafkaClient.bootstrap
#: The connections that each task has opened in `bootstrap`.
_opened: dict[asyncio.Task[Any] | None, list[Any]] = {}


async def _create_conn(*arguments: Any, **options: Any) -> Any:
    connection = await _plain_create_conn(*arguments, **options)
    if (opened := _opened.get(asyncio.current_task())) is not None:
        opened.append(connection)
    return connection


async def _bootstrap(client: AIOKafkaClient) -> None:
    task = asyncio.current_task()
    opened = _opened[task] = []
    try:
        await _plain_bootstrap(client)
    except BaseException:
        for connection in opened:
            connection.close()
        raise
    finally:
        del _opened[task]


# -- Header names that are not UTF-8
#
# Kafka accepts any bytes as a header's name. aiokafka raises at the first name that is not UTF-8, at
# every fetch: one such record would stop its partition for ever, and block the records of other
# senders. So a batch that raises is read again, with U+FFFD in place of the wrong bytes.


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches that one fetch of a partition returned."""

    def next_batch(self, *arguments: Any) -> Any:
        raw = self._next_slice
        batch = super().next_batch(*arguments)
        return None if batch is None else _LenientBatch(batch, raw)


class _LenientBatch:
    """A batch that aiokafka reads, with its bytes (``raw``), and `_LenientReader` as the fallback."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(list(_LenientReader(self.raw)))

    def __next__(self) -> Any:
        return next(self._batch)


class _LenientReader(_DefaultRecordBatchPy):  # type: ignore[misc]
    """aiokafka's reader of a batch, whose buffer returns texts that decode without an error."""

    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBuffer(self._buffer)


class _LenientBuffer(bytearray):
    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return _LenientText(part) if isinstance(part, bytearray) else part


class _LenientText(bytes):
    def decode(self, *_: str) -> str:
        return str(self, "utf-8", "replace")


# -- Whole batches of records
#
# aiokafka makes a Python object of each record, which costs as much as all later processing of it. The
# native decoder reads the batch's bytes, so it needs no such objects.

#: Where a batch of version 2 has its attributes, its version and its records. Only this version's
#: records have headers.
_ATTRIBUTES, _VERSION, _RECORDS = slice(21, 23), 16, 61
_CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


class RecordBatch(NamedTuple):
    """A batch of records as the broker sent it, but not compressed.

    It stands for the offsets from ``start`` to before ``end``; ``content`` begins at an earlier offset
    if the consumer's position was in the middle of a batch.
    """

    content: bytes
    start: int
    end: int


def record_batches(_: Any) -> None:
    """Mark a consumer, as its ``value_deserializer``, to return a `RecordBatch` instead of records."""
    raise NotImplementedError("no record is made")


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The part of a fetch that belongs to one partition."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        if self._value_deserializer is record_batches:
            return self._unpack_batches()
        return super()._unpack_records()  # type: ignore[no-any-return]

    def _unpack_batches(self) -> Iterator[RecordBatch]:
        records = self._records
        while records.has_next():
            batch = records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            start, end = self.next_fetch_offset, batch.next_offset
            self.next_fetch_offset = end
            if not batch.is_control_batch and end > start:
                yield RecordBatch(_decompress(bytes(batch.raw)), start, end)


def _decompress(content: bytes) -> bytes:
    if content[_VERSION] != 2:
        raise CorruptRecordException("a batch of a version that has no headers")
    codec = int.from_bytes(content[_ATTRIBUTES], "big") & 7
    if not codec:
        return content
    return content[:_RECORDS] + _CODECS[codec](content[_RECORDS:])


# -- The import of Faust


def import_faust() -> tuple[Any, Any]:
    """Import Faust, and return the module and its aiokafka driver.

    Faust reads its own options (``--loop``) from the command line when it is imported, so it must not
    see this program's. It is imported by a function, since it takes 0.2 s and 20 MiB of a process that
    only reads a topic.
    """
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        import faust
        from faust.transport.drivers import aiokafka as driver
    finally:
        sys.argv = arguments
    return faust, driver


# -- Records that Faust fetches while it is paused
#
# Faust pauses a partition by leaving it out of the partitions that it asks aiokafka for, and drops what
# arrives while its flow is stopped. A rebalance empties this set while a request is under way, and to
# aiokafka an empty set means all partitions: it returns records of any of them, Faust drops them, and
# then seeks back to the committed offset, which a changelog does not have. If this happens between the
# recovery's seek and its first record, these records never come, and the recovery never ends.


def faust_transport(app: Any) -> Any:
    """Make the transport of a Faust app, which seeks back to the records that Faust would drop, and
    whose thread does not keep the process alive: an app that is stopped while it starts leaves its
    thread running."""
    driver: Any
    _, driver = import_faust()

    class DaemonThread(driver.AIOKafkaConsumerThread.Worker):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.daemon = True

    class PatchedThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
        Worker = DaemonThread

        async def _fetch_records(
            self, consumer: Any, active_partitions: set[TopicPartition] | None, **limits: Any
        ) -> dict[TopicPartition, list[ConsumerRecord]]:
            found: dict[TopicPartition, list[ConsumerRecord]]
            found = await super()._fetch_records(consumer, active_partitions, **limits)
            wanted = (active_partitions or ()) if self.consumer.flow_active else ()
            # No await from here on: the position is still the one that these records moved.
            for partition in [partition for partition in found if partition not in wanted]:
                consumer.seek(partition, found.pop(partition)[0].offset)
            return found

    class PatchedConsumer(driver.Consumer):  # type: ignore[misc]
        def _new_consumer_thread(self) -> Any:
            return PatchedThread(self, loop=self.loop, beacon=self.beacon)

    class PatchedTransport(driver.Transport):  # type: ignore[misc]
        Consumer = PatchedConsumer

    return PatchedTransport(app.conf.broker_consumer, app)
