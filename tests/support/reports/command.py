"""Run the command line in a process of its own."""

import io
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.forks.process import Fork

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
    """Run ``python -m processor`` with arguments, an environment and an empty standard input."""
    ran = run_in_bytes(arguments, env)
    return subprocess.CompletedProcess(
        ran.args, ran.returncode, _text(ran.stdout), _text(ran.stderr)
    )


def run_in_bytes(
    arguments: tuple[str | Path, ...], env: Mapping[str, str]
) -> "subprocess.CompletedProcess[bytes]":
    """As `run_command`, for what prints more than text.

    It is a fork of a process that has imported the package: the imports would take ten times as long as
    most commands. See `tests.support.forks`.
    """
    given = list(map(str, arguments))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        fork = Fork(given, env, output, errors)
        try:
            code = fork.wait(_TIMEOUT)
        finally:
            fork.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(given, code, output.read(), errors.read())


def _text(printed: bytes) -> str:
    """With the ends of lines of `subprocess`."""
    return io.TextIOWrapper(io.BytesIO(printed), encoding="utf-8").read()
