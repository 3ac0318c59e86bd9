"""The patches of aiokafka and Faust fit the pinned releases: what they replace is still there."""

import asyncio
import configparser
import gc
import inspect
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from aiokafka import TopicPartition, client, conn
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import calc_crc32c
from packaging.requirements import Requirement

from processor.kafka.patches import (
    PATCHED_VERSIONS,
    RecordBatch,
    faust_transport,
    import_faust,
    patch_clients,
    record_batches,
)

_SETUP = Path(__file__).parents[2] / "setup.cfg"
_LOOK_AGAIN = {
    "aiokafka": (
        "conn.py (AIOKafkaConnection): does it still read through a StreamReader? "
        "client.py (bootstrap): does it still leave its connection open when it is cancelled? "
        "consumer/fetcher.py (MemoryRecords, PartitionRecords), record/memory_records.py "
        "(_MemoryRecordsPy) and record/default_records.py (_DefaultRecordBatchPy): does it still raise "
        "at a header name that is not UTF-8, and make an object of each record?"
    ),
    "faust-streaming": (
        "transport/drivers/aiokafka.py (AIOKafkaConsumerThread._fetch_records, Consumer, Transport) "
        "and the modules that read sys.argv at import: does it still drop the records that it "
        "fetched while its flow was stopped?"
    ),
    "mode-streaming": "loop.py: does Faust's import still read --loop from the command line? "
    "threads.py (WorkerThread): is it still no daemon?",
}


@pytest.mark.parametrize("package", PATCHED_VERSIONS)
def test_the_pinned_version_is_the_one_that_was_patched(package: str) -> None:
    config = configparser.ConfigParser()
    config.read(_SETUP)
    lines = config["options"]["install_requires"].splitlines()
    required = [Requirement(line) for line in lines if line and not line.startswith("#")]
    (pinned,) = (str(one.specifier) for one in required if one.name == package)
    patched = PATCHED_VERSIONS[package]
    assert (pinned, version(package)) == (f"=={patched}", patched), (
        f"processor/kafka/patches.py was written for {package} {patched}. Look again at "
        f"{_LOOK_AGAIN[package]} Then correct the patch, or remove it if it is not needed any more, "
        "and raise PATCHED_VERSIONS"
    )


def _faust_parts() -> list[tuple[Any, str]]:
    _, driver = import_faust()
    return [
        (driver.AIOKafkaConsumerThread, "_fetch_records"),
        (driver.Consumer, "_new_consumer_thread"),
        (driver.Transport, "Consumer"),
    ]


def test_the_parts_that_are_replaced_exist() -> None:
    parts: list[tuple[Any, str]] = [
        (conn, "AIOKafkaConnection"),
        (conn, "io"),
        (conn.AIOKafkaConnection, "connect"),
        (conn.AIOKafkaConnection, "_handle_frame"),
        (client, "create_conn"),
        (client.AIOKafkaClient, "bootstrap"),
        (fetcher, "MemoryRecords"),
        (fetcher, "PartitionRecords"),
        (fetcher.PartitionRecords, "_unpack_records"),
        (_MemoryRecordsPy, "next_batch"),
        (_MemoryRecordsPy, "has_next"),
        (_DefaultRecordBatchPy, "_maybe_uncompress"),
        (_DefaultRecordBatchPy, "validate_crc"),
        (_DefaultRecordBatchPy, "next_offset"),
        (_DefaultRecordBatchPy, "is_control_batch"),
        *_faust_parts(),
    ]
    missing = [f"{owner.__name__}.{name}" for owner, name in parts if not hasattr(owner, name)]
    assert not missing, "processor/kafka/patches.py replaces or calls them"


@pytest.mark.parametrize(
    ("owner", "attributes"),
    [
        (conn.AIOKafkaConnection, ["_protocol", "_read_task", "_requests"]),
        (_MemoryRecordsPy, ["_next_slice"]),
        (_DefaultRecordBatchPy, ["_buffer"]),
        (
            fetcher.PartitionRecords,
            ["_value_deserializer", "_records", "_check_crcs", "_tp", "next_fetch_offset"],
        ),
    ],
)
def test_the_attributes_that_are_used_exist(owner: Any, attributes: list[str]) -> None:
    source = inspect.getsource(owner)
    missing = [name for name in attributes if f"self.{name}" not in source]
    assert not missing, f"processor/kafka/patches.py uses them of {owner.__name__}"


def test_faust_fetches_with_the_arguments_of_the_patch() -> None:
    (thread, name), *_ = _faust_parts()
    parameters = list(inspect.signature(getattr(thread, name)).parameters)
    assert parameters[:3] == ["self", "consumer", "active_partitions"]


def test_the_transport_makes_the_patched_thread() -> None:
    app = SimpleNamespace(conf=SimpleNamespace(broker_consumer=[]), loop=None)
    consumer = faust_transport(app).Consumer
    _, driver = import_faust()
    assert issubclass(consumer, driver.Consumer)
    assert consumer._new_consumer_thread is not driver.Consumer._new_consumer_thread
    thread = consumer._new_consumer_thread(MagicMock())
    # A thread that is left running must not keep the process alive; it is Faust's own that does.
    assert thread.Worker(thread).daemon
    assert not driver.AIOKafkaConsumerThread.Worker(thread).daemon


def test_faust_does_not_see_the_command_line() -> None:
    arguments = sys.argv
    import_faust()
    assert sys.argv is arguments


def _fetch(batch: bytes, deserializer: Any = None, start: int = 1) -> list[Any]:
    """Return what a consumer with the patches makes of a batch, from offset ``start`` on."""
    patch_clients()
    records = fetcher.MemoryRecords(batch)
    partition = TopicPartition("topic", 0)
    return list(
        fetcher.PartitionRecords(partition, records, [], start, None, deserializer, True, 0)
    )


def _batch(compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
    for number in range(3):
        builder.append(number, 1000 + number, None, b"%d" % number, [("ce_id", b"id")])
    return bytes(builder.build())


def test_a_header_name_that_is_not_utf_8_can_be_read() -> None:
    # The builder accepts text only, so the bytes are replaced afterwards, with their checksum.
    batch = _batch().replace(b"ce_id", b"ce_\xffd")
    batch = batch[:17] + calc_crc32c(batch[21:]).to_bytes(4, "big") + batch[21:]
    found = _fetch(batch)
    assert [(record.offset, record.value) for record in found] == [(1, b"1"), (2, b"2")]
    assert found[0].headers == (("ce_\ufffdd", b"id"),)


@pytest.mark.parametrize("compression", [0, 1])
def test_a_consumer_that_asks_for_batches_gets_them(compression: int) -> None:
    (batch,) = _fetch(_batch(compression), record_batches)
    assert isinstance(batch, RecordBatch)
    assert (batch.start, batch.end) == (1, 3)
    assert batch.content[61:].count(b"ce_id") == 3


def test_a_damaged_batch_is_refused() -> None:
    damaged = bytearray(_batch())
    damaged[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        _fetch(bytes(damaged), record_batches)


async def test_a_start_that_is_cancelled_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker here takes connections and never answers, so the start waits for the metadata."""
    asked, opened = asyncio.Event(), set[asyncio.StreamWriter]()

    async def know_versions(connection: Any) -> None:
        connection._versions = {MetadataRequest.API_KEY: (0, 5)}

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.add(writer)
        await reader.read(1)
        asked.set()
        await reader.read()
        opened.discard(writer)
        writer.close()

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", know_versions)
    patch_clients()
    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    kafka = client.AIOKafkaClient(bootstrap_servers=f"{host}:{port}")
    found: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    start = asyncio.create_task(kafka.bootstrap())
    async with asyncio.timeout(60):
        await asked.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        del start
        gc.collect()
        while opened:
            await asyncio.sleep(0.01)
    await kafka.close()
    server.close()
    await server.wait_closed()
    assert not found
