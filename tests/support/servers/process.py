"""One server program as a child process, with a log file, ended by its process id."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from .maven import ServerError

_POLL_SECONDS = 0.05


def _ports() -> Iterator[int]:
    """All ports from 20000 to 31999 that are this process' own, again and again.

    Each process of pytest-xdist has an eighth of them, and none is given twice before all were: a port
    is bound only some time after it was found free.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = 20_000 + int(worker) % 8 * 1_500
    return itertools.cycle(random.sample(range(first, first + 1_500), 1_500))


_PORTS = _ports()


def free_port() -> int:
    """A loopback port that stays free for a restart.

    Below the kernel's range for outgoing connections, since one of those could take the port
    of a stopped server.
    """
    for port in itertools.islice(_PORTS, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("found no free port between 20000 and 32000 on 127.0.0.1")


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Return when `ready` holds; TimeoutError with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:g} s")
        time.sleep(_POLL_SECONDS)


class _Allowed:
    servers = True


def forbid_servers() -> None:
    """From now on a start is an error: a test without the marker would need what is not there."""
    _Allowed.servers = False


class ServerProcess:
    """A child in a session of its own, so that Ctrl-C reaches the tests and not the server."""

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        if not _Allowed.servers:
            raise ServerError(f"{command[0]} in a quick run: mark the test as integration")
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._guard = _guard(self._child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait for a real answer; a ServerError with the log's tail if it ends or takes longer."""

        def ready_or_ended() -> bool:
            return self._child.poll() is not None or ready()

        with contextlib.suppress(TimeoutError):
            wait_until(ready_or_ended, seconds, "ready")
            if self._child.poll() is None:
                return
        code = self._child.poll()
        self.kill()
        state = f"gave no answer in {seconds:g} s" if code is None else f"ended with {code}"
        raise ServerError(f"the server {state}; the end of {self.log}:\n{self.log_tail()}")

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        self._child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        self.kill()

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()

    def log_tail(self, lines: int = 30) -> str:
        text = self.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(empty)"


class RestartableServer(ABC):
    """A server with a folder for its settings, its data and `server.log`: `restart` keeps its ports and
    its data. A context manager that starts it and closes it."""

    def __init__(self, name: str, start_seconds: float, stop_seconds: float) -> None:
        self._name = name
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    @abstractmethod
    def _prepare(self, folder: Path) -> None:
        """Write the settings to the new folder."""

    @abstractmethod
    def _launch(self) -> ServerProcess:
        """Start the program."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the program can be used."""

    @property
    def folder(self) -> Path:
        """Settings, data and `server.log`; gone after `close`."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self._name.lower()}-"))
            self._prepare(self._folder)
        return self._folder

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self._name} is not running: call start() first")
        return self._process.pid

    def start(self) -> Self:
        """Start, and return when the server answers that it can be used."""
        if self._process is not None:
            raise ServerError(f"{self._name} is already running")
        process = self._launch()
        process.wait_ready(self._answers, self._start_seconds)
        self._process = process
        return self

    def stop(self) -> None:
        """End it in an orderly way; the data stay. Nothing to do when it is not running."""
        if self._process is not None:
            self._process.stop(self._stop_seconds)
            self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stop (if it runs) and start on the same ports with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, and remove its files."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _guard(pid: int) -> "subprocess.Popen[bytes] | None":
    """A shell that ends the server when this process is gone, even by SIGKILL.

    It waits for the end of a pipe whose other end only this process holds.
    """
    shell = shutil.which("sh")
    if shell is None:
        return None
    return subprocess.Popen(
        [shell, "-c", f"read _; kill -9 {pid}"], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
