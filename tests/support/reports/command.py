"""Run the command line in a process of its own."""

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

#: Seconds after which a command hangs.
_TIMEOUT = 120


def processor(*arguments: str | Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run ``processor`` with arguments; settings are given as ``archive="http://..."``."""
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    return run_command(arguments, env)


def output_of(*arguments: str | Path, **settings: str) -> str:
    """The stdout of a command, which must succeed."""
    ran = processor(*arguments, **settings)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run_command(
    arguments: tuple[str | Path, ...], env: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m processor`` with arguments, an environment and an empty standard input.

    It is a fork of a process that has imported the package: the imports would take ten times as long as
    most commands. See `tests.support.reports.forks`.
    """
    given = list(map(str, arguments))
    command = {"arguments": given, "env": dict(env), "folder": os.getcwd()}
    with tempfile.TemporaryFile("w+") as asked, _text() as output, _text() as errors:
        json.dump(command, asked)
        asked.flush()
        asked.seek(0)
        forks = _forks()
        socket.send_fds(forks, [b"."], [file.fileno() for file in (asked, output, errors)])
        try:
            code = forks.recv(16)
        except TimeoutError:
            # It still waits for this command; the next one gets another process.
            _forks.cache_clear()
            raise
        assert code, "the process that forks for commands has ended"
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(given, int(code), output.read(), errors.read())


def _text() -> "tempfile._TemporaryFileWrapper[str]":
    return tempfile.TemporaryFile("w+", encoding="utf-8")  # type: ignore[return-value]


@functools.cache
def _forks() -> socket.socket:
    """The socket of a process that forks for commands; it ends when the socket is closed."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.reports.forks", str(theirs.fileno())],
        pass_fds=[theirs.fileno()], start_new_session=True, cwd=Path(__file__).parents[3],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    ours.settimeout(_TIMEOUT)

    def end() -> None:
        ours.close()
        # With a command that hangs.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    atexit.register(end)
    return ours
