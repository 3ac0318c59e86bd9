"""A load that is packed once and sent again and again, each time with other request ids.

A round costs the sender a copy only: the digits of the ids are changed in the packed batches, so that
a long run at a high rate leaves the cores to the processes that are measured.
"""

import asyncio
import multiprocessing
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from ..support.load import SPAN_NS, Expected, Load
from ..support.measure import BenchError
from ..support.rate_limit import TICK, Sending, packed, sending_process
from ..support.topic_fill import PARTITIONS

#: Requests of the load, which is sent once in each round.
_REQUESTS = 20_000
#: The ids of a round differ from those of the others in four hexadecimal digits.
ROUNDS = 1 << 16
_DIGITS = b"0123456789abcdef"
_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Position of these digits in an id.
_DIGITS_AT = 9
#: Positions in a batch of version 2: its checksum, which is of all bytes behind it, and the times of
#: its first and last record.
_CRC, _AFTER_CRC, _FIRST, _LAST, _END = 17, 21, 27, 35, 43


def _changed_digits() -> NDArray[np.uint8]:
    """For a number below 16 and a byte: the byte, or the digit that it becomes if it is a digit."""
    table = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    for number in range(16):
        for value, digit in enumerate(_DIGITS):
            table[number, digit] = _DIGITS[value ^ number]
    return table


_CHANGED = _changed_digits()


class ReadyBatch:
    """A batch of records that is packed already; it has the methods that aiokafka's producer calls."""

    def __init__(self, content: bytes, records: int) -> None:
        self._content = content
        self._records = records

    def size(self) -> int:
        return len(self._content)

    def record_count(self) -> int:
        return self._records

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def _build(self) -> bytes:
        return self._content


class _Batch(NamedTuple):
    partition: int
    content: NDArray[np.uint8]
    ids: NDArray[np.int64]
    records: int

    def again(self, number: int, timestamp: int) -> ReadyBatch:
        content = self.content.copy()
        for place in range(4):
            at = self.ids + _DIGITS_AT + place
            content[at] = _CHANGED[number >> 4 * place & 15][content[at]]
        buffer = bytearray(content)
        first, last = (int.from_bytes(buffer[at : at + 8]) for at in (_FIRST, _LAST))
        buffer[_FIRST:_LAST] = (timestamp - (last - first)).to_bytes(8)
        buffer[_LAST:_END] = timestamp.to_bytes(8)
        crc: int = calc_crc32c(memoryview(buffer)[_AFTER_CRC:])
        buffer[_CRC:_AFTER_CRC] = crc.to_bytes(4)
        return ReadyBatch(bytes(buffer), self.records)


class PackedLoad:
    """Batches of records, kept as bytes, that can be sent in rounds with other ids each."""

    def __init__(self, sendings: Iterable[Sending]) -> None:
        self._sendings = [[_template(*each) for each in sending] for sending in sendings]

    def again(self, number: int, timestamp: int) -> Iterator[tuple[int, Sending]]:
        """The batches of each sending and its number of events, for round `number` of `ROUNDS`.

        The last record of a batch gets the timestamp (ms), the others keep their distance to it.
        """
        if not 0 <= number < ROUNDS:
            raise ValueError(f"round {number}: there are {ROUNDS}")
        for sending in self._sendings:
            batches: Sending = [(one.partition, one.again(number, timestamp)) for one in sending]
            yield sum(one.records for one in sending), batches


def _template(partition: int, batch: Any) -> _Batch:
    records, content = batch.record_count(), bytes(batch._build())
    ids = np.fromiter((found.start() for found in _ID.finditer(content)), np.int64)
    return _Batch(partition, np.frombuffer(content, np.uint8), ids, records)


class RepeatedLoad:
    """A load on its way from another process; `expected` is its truth, once it is done."""

    def __init__(self, pipe: Connection, sent: Any) -> None:
        self._pipe, self._sent = pipe, sent
        self.expected = Expected()

    @property
    def sent(self) -> int:
        """Number of events sent so far."""
        return int(self._sent.value)

    @property
    def done(self) -> bool:
        """Whether all events are on the topic; BenchError if the process ended before."""
        if not self._pipe.poll():
            return False
        try:
            self.expected = self._pipe.recv()
        except EOFError:
            raise BenchError("the load's process ended") from None
        return True

    def stop(self) -> None:
        """Send to the end of the round, and no further."""
        self._pipe.send(None)


@contextmanager
def repeating(
    bootstrap: str, topic: str, rate: float, seconds: float, deployments: int
) -> Iterator[RepeatedLoad]:
    """Send `rate` events per second, for so many seconds, or until it is stopped, and to the
    end of a round."""
    sent = multiprocessing.get_context("spawn").Value("Q", 0)
    with sending_process(_send, bootstrap, topic, rate, seconds, deployments, sent) as pipe:
        yield RepeatedLoad(pipe, sent)


def _send(
    bootstrap: str, topic: str, rate: float, seconds: float, deployments: int, sent: Any,
    pipe: Connection,
) -> None:  # fmt: skip
    pipe.send(asyncio.run(_send_for(bootstrap, topic, rate, seconds, deployments, sent, pipe)))


async def _send_for(
    bootstrap: str,
    topic: str,
    rate: float,
    seconds: float,
    deployments: int,
    sent: Any,
    pipe: Connection,
) -> Expected:
    expected = Expected()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=512 * 1024
    ) as producer:
        load = Load(_REQUESTS, deployments, start_ns=time.time_ns() - SPAN_NS)
        truth, events = load.expected(), load.events()
        size, first, sendings = max(1, round(rate * TICK)), 0, []
        while share := list(islice(events, size)):
            sendings.append(packed(producer, share, first, PARTITIONS))
            first += len(share)
        loads = PackedLoad(sendings)
        begin = time.monotonic()
        for number in range(ROUNDS):
            for records, sending in loads.again(number, round(time.time() * 1000)):
                for partition, batch in sending:
                    await producer.send_batch(batch, topic, partition=partition)
                sent.value += records
                ahead = begin + sent.value / rate - time.monotonic()
                await asyncio.sleep(max(0.0, ahead))
            expected.add(truth)
            if time.monotonic() - begin >= seconds or pipe.poll():
                break
        await producer.flush()
    return expected
