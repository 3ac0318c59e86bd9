"""A process that imports modules once, and forks for each program that a test runs.

Its arguments are the number of a socket, and the modules to import. A fork is a process like any other:
its own environment, arguments, folder, files, signals and exit code. To import what a worker imports
takes longer than to start the worker.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any, NoReturn


def wait_for_programs(asking: socket.socket) -> dict[str, Any] | None:
    """Fork for each program: in the fork the program which that is to run, at the end None."""
    while True:
        _, files, _, _ = socket.recv_fds(asking, 1, 5)
        if not files:
            return None
        if os.fork() == 0:
            # Nothing of the zygote's is the program's.
            asking.close()
            return _keep(*files)
        for opened in files:
            os.close(opened)


def _keep(asked: int, told: int, *streams: int) -> dict[str, Any]:
    """In a fork of the zygote: fork for the program, and tell its process id and its exit code. It
    returns in the program's process alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program:
        _tell(program, told)
    os.close(told)
    with open(asked) as file:
        command: dict[str, Any] = json.load(file)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["env"])
    sys.argv[1:] = command["arguments"]
    return command


def _tell(program: int, told: int) -> NoReturn:
    # The program alone holds its files: who reads its output waits for all that can write.
    for number in range(told):
        os.close(number)
    os.closerange(told + 1, told + 64)
    os.write(told, f"{program}\n".encode())
    _, status = os.waitpid(program, 0)
    try:
        os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    finally:
        os._exit(0)


def main() -> None:
    """Serve the socket until its other end is closed."""
    number, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    # Those that tell of programs are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=int(number)) as asking:
        # What was imported is no garbage: forks need not search it, nor copy it.
        gc.freeze()
        command = wait_for_programs(asking)
    if command is None:
        return
    try:
        runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if command["whole"]:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        # To free what was imported would take as long as most commands.
        os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    main()
