"""Responses arrive whole, however the network cuts them, and a lost connection is noticed."""

import asyncio
from collections import deque
from unittest.mock import Mock

import pytest
from aiokafka import conn as aiokafka_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest
from hypothesis import given
from hypothesis import strategies as st

from processor.kafka import connection as connection_module
from processor.kafka.connection import FrameConnection, FrameProtocol
from processor.kafka.patches import patch_clients

_SHARED = 64


class _Connection:
    """Notes the responses that it is handed, and why it was closed."""

    def __init__(self) -> None:
        self.responses: list[bytes] = []
        self.closed: list[object] = []
        self._requests = deque([1])

    def _handle_frame(self, response: bytes | memoryview) -> None:
        if bytes(response[:4]) == b"oops":
            raise ValueError("not a response")
        self.responses.append(bytes(response))

    def close(self, reason: object, exc: object) -> None:
        self.closed.append(exc)
        self._requests.clear()


@pytest.fixture(autouse=True)
def _small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_SHARED", _SHARED)


def _framed(response: bytes) -> bytes:
    return len(response).to_bytes(4, "big") + response


def _receive(protocol: FrameProtocol, content: bytes, pieces: list[int]) -> None:
    """Hand ``content`` over as a transport does: at most what fits into the buffer, in pieces."""
    remaining = deque(pieces)
    while content:
        buffer = protocol.get_buffer(-1)
        assert len(buffer) > 0
        size = min(len(buffer), len(content), remaining.popleft() if remaining else len(content))
        buffer[:size] = content[:size]
        protocol.buffer_updated(size)
        content = content[size:]


@given(
    st.lists(st.binary(max_size=3 * _SHARED).filter(lambda one: one[:4] != b"oops"), max_size=8),
    st.lists(st.integers(1, 2 * _SHARED), max_size=40),
)
def test_responses_arrive_whole(responses: list[bytes], pieces: list[int]) -> None:
    connection = _Connection()
    protocol = FrameProtocol(connection, Mock())
    _receive(protocol, b"".join(map(_framed, responses)), pieces)
    assert connection.responses == responses
    assert connection.closed == []


@pytest.mark.parametrize("size", range(_SHARED - 8, _SHARED + 8))
def test_a_response_may_fill_the_buffer(size: int) -> None:
    connection = _Connection()
    protocol = FrameProtocol(connection, Mock())
    responses = [b"a" * size, b"b", b"c" * size]
    _receive(protocol, b"".join(map(_framed, responses)), [])
    assert connection.responses == responses


def test_a_large_response_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_LARGE_FIELD", 10)
    stream = connection_module._stream(memoryview(b"0123456789abcdefghij"))
    assert stream.read(4) == b"0123"
    large = stream.read(12)
    assert isinstance(large, memoryview)
    assert bytes(large) == b"456789abcdef"
    assert (stream.read(9), stream.read(1), stream.read()) == (b"ghij", b"", b"")


@pytest.mark.parametrize("content", [_framed(b"oops"), b"\xff\xff\xff\xff", _framed(b"oops" * 99)])
def test_what_is_no_response_closes_the_connection(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    connection = _Connection()
    protocol = FrameProtocol(connection, Mock())
    _receive(protocol, content, [])
    assert [type(error) for error in connection.closed] == [ValueError]
    assert "unexpected response of a broker" in caplog.text


def test_a_lost_connection_fails_what_was_asked() -> None:
    """A server that answers the first question, as a login needs, and hangs up at the next."""

    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            size = int.from_bytes(await reader.readexactly(4), "big")
            asked = await reader.readexactly(size)
            # Correlation id, no error, no versions.
            writer.write(_framed(asked[4:8] + bytes(2) + bytes(4)))
            await reader.readexactly(4)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            connection = await aiokafka_conn.create_conn("127.0.0.1", port)
            assert isinstance(connection, FrameConnection)
            assert connection.connected()
            with pytest.raises(KafkaConnectionError):
                await connection.send(ApiVersionRequest())
            assert not connection.connected()
            await connection.close()

    patch_clients()
    asyncio.run(asyncio.wait_for(scenario(), 60))
