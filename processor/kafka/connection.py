"""Connections to a broker that receive a large response in one piece.

aiokafka reads through asyncio's `StreamReader`, which stops the socket at 128 KiB and wakes a task for
each piece: while the worker counts, hardly anything arrives, and then it waits for the rest of the
response. It also copies what it has read several times. Here the socket writes into the response's own
buffer, and the records of a response are views of it.

This replaces private parts of aiokafka, see `patches.py`.
"""

import asyncio
import io
import logging
import struct
import weakref
from types import SimpleNamespace
from typing import Any

from aiokafka import conn as conn_module
from aiokafka.conn import AIOKafkaConnection, CloseReason

logger = logging.getLogger(__name__)

#: Responses that fit into so many bytes are received together, larger ones each in a buffer of its own.
_SHARED = 1 << 16
#: Fields of so many bytes are not copied: no text is as long.
_LARGE_FIELD = 1 << 15
_SIZE = struct.Struct(">i")


def patch_connections() -> None:
    """Let all clients of this process connect in this way."""
    conn_module.AIOKafkaConnection = FrameConnection
    conn_module.io = SimpleNamespace(BytesIO=_stream)


class FrameConnection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that is read by a `FrameProtocol` from the login on."""

    async def connect(self) -> Any:
        """Open the connection; returns aiokafka's reader and writer."""
        reader, writer = await super().connect()
        # Nothing has been asked that is not answered yet, so the reader has nothing left.
        self._read_task.cancel()
        writer.transport.set_protocol(FrameProtocol(self, self._protocol))
        return reader, writer


class FrameProtocol(asyncio.BufferedProtocol):
    """Receives responses for ``connection``. ``streams`` is the protocol that it replaces, which still
    hears when the connection is lost."""

    def __init__(self, connection: AIOKafkaConnection, streams: asyncio.Protocol) -> None:
        # A connection that nobody holds any more closes itself.
        self._connection = weakref.ref(connection)
        self._streams = streams
        self._shared = memoryview(bytearray(_SHARED))
        self._large: memoryview | None = None
        """The buffer of a large response that is on its way."""
        self._filled = 0
        """How many bytes stand in it, or else in the shared buffer."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return (self._shared if self._large is None else self._large)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._filled += nbytes
        try:
            if self._large is None:
                self._split()
            elif self._filled == len(self._large):
                response, self._large, self._filled = self._large, None, 0
                self._handle(response)
        except Exception as error:
            logger.exception("unexpected response of a broker")
            self._close(error)

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._streams.connection_lost(exc)
        self._close(exc)

    def _split(self) -> None:
        """Handle the responses in the shared buffer. What stands there of the next one stays, or moves
        to a buffer of its own."""
        shared, start = self._shared, 0
        while self._filled - start >= _SIZE.size:
            (size,) = _SIZE.unpack_from(shared, start)
            if size < 0:
                raise ValueError(f"a response of {size} bytes")
            begin = start + _SIZE.size
            if begin + size > self._filled:
                if _SIZE.size + size > _SHARED:
                    received = shared[begin : self._filled]
                    self._large, self._filled = memoryview(bytearray(size)), len(received)
                    self._large[: self._filled] = received
                    return
                break
            start = begin + size
            self._handle(bytes(shared[begin:start]))
        if start:
            rest = bytes(shared[start : self._filled])
            self._filled = len(rest)
            shared[: self._filled] = rest

    def _handle(self, response: bytes | memoryview) -> None:
        connection = self._connection()
        # One that was closed meanwhile has no requests.
        if connection is not None and connection._requests:
            connection._handle_frame(response)

    def _close(self, error: Exception | None) -> None:
        connection = self._connection()
        if connection is not None:
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)


class _Fields:
    """The part of `io.BytesIO` that reads the fields of a response; large ones are views of it."""

    def __init__(self, response: memoryview) -> None:
        self._response = response
        self._position = 0

    def read(self, size: int = -1) -> bytes | memoryview:
        """The next bytes, fewer at the end; all that are left if ``size`` is negative."""
        start = self._position
        end = len(self._response) if size < 0 else min(start + size, len(self._response))
        self._position = end
        field = self._response[start:end]
        return field if end - start >= _LARGE_FIELD else bytes(field)


def _stream(response: bytes | memoryview) -> io.BytesIO | _Fields:
    return _Fields(response) if isinstance(response, memoryview) else io.BytesIO(response)
