"""Reading partitions from one offset to another, and describing a broker's fault."""

import os
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from socket import gaierror
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import ConsumerRecord

from processor.errors import BrokerError

#: The errors that a client raises if the broker is away or refuses a request.
FAULTS = (KafkaError, OSError, TimeoutError)
#: Seconds without progress after which a read has failed.
_PATIENCE = 60.0
#: Timeout (ms) of a connection that is opened only to learn why it fails.
_TRY_MS = 10_000


def explain(error: BaseException, servers: Sequence[str]) -> BrokerError:
    """Describe a fault of the broker in one line."""
    return BrokerError(
        f"Kafka at {', '.join(servers)} failed: {broker_trouble(error)}", "check PROCESSOR_BROKER"
    )


def broker_trouble(error: BaseException) -> str:
    """Describe a client's error in words for a user.

    aiokafka's errors begin with their class's name, and list addresses as Python tuples.

    >>> from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
    >>> broker_trouble(KafkaConnectionError("Unable to bootstrap from [('host', 9092, 2)]"))
    'no connection can be made'
    >>> broker_trouble(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)"))
    'connection refused'
    >>> broker_trouble(NodeNotReadyError("node 1")), broker_trouble(TimeoutError())
    ('node 1 (NodeNotReadyError)', 'no answer in time')
    """
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        # asyncio puts the address into strerror, as a tuple.
        what = error.strerror if isinstance(error, gaierror) else os.strerror(error.errno)
        return (what or name).lower()
    text = re.sub(rf"^(\[Error -?\d+\] )?{name}(: )?", "", str(error)).strip()
    if text.startswith("Unable to bootstrap from"):
        return "no connection can be made"
    if not text:
        return "no answer in time" if isinstance(error, TimeoutError) else name
    return f"{text} ({name})" if isinstance(error, KafkaError) else text


async def connection_error(
    error: BaseException, servers: Sequence[str], options: Mapping[str, Any]
) -> BaseException:
    """Find out why a client could not connect; errors of other kinds are returned unchanged.

    A client does not say why it could not connect, so one more connection is tried. ``options`` are
    aiokafka's options of the connection.
    """
    found = error
    limited = {**options, "request_timeout_ms": _TRY_MS}
    limited.pop("bootstrap_servers", None)
    for server in servers if isinstance(error, KafkaConnectionError) else ():
        host, _, port = server.rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **limited)
        except FAULTS as reason:
            found = reason
            break
        connection.close()
    return found


async def read_stretches(
    consumer: AIOKafkaConsumer,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    max_records: int,
) -> AsyncIterator[list[Sequence[ConsumerRecord]]]:
    """Yield the records with start <= offset < end of each partition, at most ``max_records`` at a time.

    The partitions must be assigned to the consumer. Each item is a list of record sequences, each from
    one partition; the records of a partition come in order. `BrokerError` after 60 s without progress.
    """
    positions = {one: start for one, start in starts.items() if start < ends[one]}
    for partition, start in positions.items():
        consumer.seek(partition, start)
    limit = time.monotonic() + _PATIENCE
    while positions:
        found = await consumer.getmany(*positions, timeout_ms=500, max_records=max_records)
        batches: list[Sequence[ConsumerRecord]] = []
        for partition, start in tuple(positions.items()):
            end, records = ends[partition], found.get(partition, ())
            reached = start
            if records:
                reached = records[-1].offset + 1
                batches.append([r for r in records if r.offset < end] if reached > end else records)
            elif not found:
                # Offsets without records (transaction markers) move the position too.
                reached = await consumer.position(partition)
            if reached > start:
                positions[partition] = reached
                limit = time.monotonic() + _PATIENCE
            if reached >= end:
                del positions[partition]
        if batches:
            yield batches
        elif positions and time.monotonic() > limit:
            partition, offset = next(iter(positions.items()))
            raise BrokerError(
                f"{partition.topic}/{partition.partition} can't be read at offset {offset}: nothing "
                f"comes for {_PATIENCE:.0f} s"
            )
