"""Programs of the package as forks of a process that has imported it: `tests.support.forks.zygote`."""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 120.0

#: What commands import, and what a service imports: Faust changes asyncio, and commands do without it.
COMMANDS = (
    "processor.archive.elasticsearch.archive",
    "processor.archive.elasticsearch.results",
    "processor.archive.sqlite.archive",
    *(f"processor.cli.{name}" for name in ("dead_letters", "main", "replay", "send")),
    "processor.service.check",
)
SERVICE = (
    "processor.cli.main",
    *(f"processor.service.{name}" for name in ("service", "modes.kafka", "modes.embedded")),
    # What Faust imports when it is first used.
    *("faust.app", "faust.tables", "faust.assignor"),
)


class Fork:
    """``python -m MODULE ARGUMENTS`` as a fork; the methods are those of `subprocess.Popen`.

    A fork that is ``whole`` ends as Python ends, and may complain as it frees what it holds; others end
    when their program has.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        output: IO[bytes],
        errors: IO[bytes],
        *,
        imports: tuple[str, ...] = COMMANDS,
        module: str = "processor",
        folder: Path | None = None,
        whole: bool = False,
    ) -> None:
        command = {
            "module": module,
            "arguments": list(arguments),
            "env": dict(env),
            "folder": str(folder or Path.cwd()),
            "whole": whole,
        }
        self.returncode: int | None = None
        self._told, telling = os.pipe()
        try:
            with tempfile.TemporaryFile("w+") as asked, Path(os.devnull).open() as nothing:
                json.dump(command, asked)
                asked.flush()
                asked.seek(0)
                files = [each.fileno() for each in (nothing, output, errors)]
                socket.send_fds(_zygote(imports), [b"."], [asked.fileno(), telling, *files])
        finally:
            os.close(telling)
        said = self._line(_START_SECONDS)
        assert said, "the process that forks for programs has ended"
        self.pid = int(said)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code; minus the number of the signal that ended it."""
        if self.returncode is None:
            said = self._line(timeout)
            assert said, f"process {self.pid} was ended with the process that forked it"
            self.returncode = int(said)
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _line(self, seconds: float) -> str:
        ready, _, _ = select.select([self._told], [], [], seconds)
        if not ready:
            raise subprocess.TimeoutExpired("a fork", seconds)
        said = b""
        # Each line is written at once, the second only when the process has ended.
        while not said.endswith(b"\n") and (more := os.read(self._told, 1)):
            said += more
        return said.decode()


@functools.cache
def _zygote(imports: tuple[str, ...]) -> socket.socket:
    """The socket of a process that forks; it ends, with all its forks, when this process ends."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forks.zygote", str(theirs.fileno()), *imports],
        pass_fds=[theirs.fileno()], start_new_session=True, cwd=_ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    atexit.register(end)
    return ours
