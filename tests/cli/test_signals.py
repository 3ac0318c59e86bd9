"""Ctrl-C and SIGTERM end a command within a second, whatever it waits for."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

#: Ctrl-C while the command line is imported. A shell's background jobs, which the tests may be one of,
#: ignore it, and so would this process.
_EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from processor.__main__ import main
main()
"""
#: Ctrl-C just after a client has made a coroutine, and before it has made a task of it.
_BETWEEN = """
import asyncio, os, signal
from processor.cli.options import interrupt_at_once
made = []
async def read(): ...
async def connect():
    made.append(read())
    os.kill(os.getpid(), signal.SIGINT)
interrupt_at_once()
try:
    asyncio.run(connect())
except KeyboardInterrupt:
    print("interrupted")
"""
#: Ctrl-C in a coroutine whose own end needs the event loop, which is closed by then.
_CLOSED = """
import asyncio, os, signal
from processor.cli.options import interrupt_at_once
async def connect():
    loop = asyncio.get_running_loop()
    try:
        await loop.create_future()
    finally:
        loop.call_soon(print)
async def main():
    global connecting
    connecting = connect()
    connecting.send(None)
    os.kill(os.getpid(), signal.SIGINT)
interrupt_at_once()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (signal.SIGTERM, ("check",)),
        (signal.SIGINT, ("dead-letters", "list")),
        (signal.SIGTERM, ("report", "http://127.0.0.1:PORT")),
    ],
)
def test_a_signal_ends_a_command_whose_server_never_answers(
    number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = str(server.getsockname()[1])
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "processor",
                *(each.replace("PORT", port) for each in arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PROCESSOR_BROKER": f"kafka://127.0.0.1:{port}"},
        )
        try:
            connection, _ = server.accept()
            with connection:
                start = time.monotonic()
                process.send_signal(number)
                _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    # One second, and the time that a busy machine takes to end a process; the server would be waited for
    # much longer.
    assert time.monotonic() - start < 5
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("code", [_BETWEEN, _CLOSED], ids=["between", "closed"])
def test_ctrl_c_at_any_moment_of_a_coroutine_is_quiet(code: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("interrupted\n", "")


def test_ctrl_c_ends_a_command_that_is_being_imported() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _EARLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, "", "")
