"""Places for workers that are ended and started again on the same data."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..support.measure import BenchError, Service, get, resident_bytes, tail
from ..support.processor_app import worker

#: Time limits for a worker's end after SIGTERM, and for being ready after its start.
_END_SECONDS, _READY_SECONDS = 60.0, 180.0


class Slot:
    """The place of a worker: each worker that runs here has the same app and the same data."""

    def __init__(self, bootstrap: str, topic: str, app_id: str, folder: Path) -> None:
        self._start = bootstrap, topic, app_id, folder
        self._stack = ExitStack()
        self._worker: Service | None = None
        self._ending: tuple[str, float] | None = None
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator["Slot"]:
        """Start a worker; the last one ends with the block."""
        with self._stack:
            self._begin()
            yield self

    def _begin(self) -> None:
        self._worker = self._stack.enter_context(worker(*self._start))
        self._since, self._ending = time.monotonic(), None

    @property
    def _here(self) -> Service:
        assert self._worker is not None
        return self._worker

    @property
    def url(self) -> str:
        """The address of the worker's HTTP server."""
        return self._here.url

    @property
    def log(self) -> str:
        """The last lines of the worker's log."""
        return tail(self._here.log)

    @property
    def state(self) -> dict[str, Any] | None:
        """The worker's answer to /ready; None while it does not answer."""
        body = None if self._ending else get(f"{self.url}/ready")
        found: dict[str, Any] | None = None if body is None else json.loads(body)
        return found

    @property
    def ready(self) -> bool:
        """Whether the worker has joined the source's group; BenchError if that takes too long."""
        state = self.state
        if state is None and time.monotonic() - self._since > _READY_SECONDS:
            raise BenchError(f"a worker is not ready after {_READY_SECONDS:g} s:\n{self.log}")
        return state is not None and state["lag"] is not None

    @property
    def memory(self) -> int | None:
        """Bytes of memory of the worker; None of one that has ended."""
        return resident_bytes(self._here.process.pid) or None

    def end(self, kind: str) -> None:
        """End the worker by SIGTERM, or else by SIGKILL."""
        if kind == "SIGTERM":
            self._here.process.terminate()
        else:
            self._here.process.kill()
        self._ending = kind, time.monotonic() + _END_SECONDS

    def renew(self) -> None:
        """Start the next worker once the last one has ended as it should, else a BenchError."""
        code = self._here.process.poll()
        if self._ending is None:
            if code is not None:
                raise BenchError(f"a worker ended by itself, with {code}:\n{self.log}")
            return
        kind, deadline = self._ending
        if code is None:
            if time.monotonic() > deadline:
                raise BenchError(f"{kind} did not end a worker:\n{self.log}")
            return
        if code != (0 if kind == "SIGTERM" else -signal.SIGKILL):
            raise BenchError(f"{kind} ended a worker with {code}:\n{self.log}")
        self._stack.close()
        self._begin()
