"""A TCP proxy that can lose the network: cut, stalled, or well."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from .process import free_port

_CHUNK = 1 << 16


class Proxy:
    """Forwards connections to (host, port), in the event loop that it was started in."""

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self.port = port or free_port()
        self.target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def cut(self) -> None:
        """End all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()
        self._flows.set()

    def stall(self) -> None:
        """Take connections and bytes, and pass nothing on: what a lost route looks like."""
        self._flows.clear()

    async def resume(self) -> None:
        """Pass everything on, what was held back too."""
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def __aenter__(self) -> Self:
        await self.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        await self.cut()

    async def _drop(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        there: asyncio.StreamWriter | None = None
        # A client or server that goes away in the middle is an everyday thing here, and so is
        # being cut.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                await self._flows.wait()
                back, there = await asyncio.open_connection(*self.target)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass_on(reader, there))
                    group.create_task(self._pass_on(back, writer))
            except* OSError:
                pass
            finally:
                self._connections.discard(task)
                writer.transport.abort()
                if there is not None:
                    there.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # the other direction ends too
