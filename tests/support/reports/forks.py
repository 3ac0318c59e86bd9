"""A process that imports the package once, and forks for each command that a test runs.

A fork is a process like any other: its own environment, arguments, files, signals and exit code.
"""

import gc
import json
import os
import runpy
import socket
import sys

import processor.archive.elasticsearch.archive
import processor.archive.elasticsearch.results
import processor.archive.sqlite.archive
import processor.cli.dead_letters
import processor.cli.main
import processor.cli.replay
import processor.cli.send  # noqa: F401


def wait_for_commands(asking: socket.socket) -> bool:
    """Fork for each command; True in the fork, which is to run it, False at the end."""
    while True:
        _, files, _, _ = socket.recv_fds(asking, 1, 3)
        if not files:
            return False
        child = os.fork()
        if child == 0:
            asked, *outputs = files
            with open(asked) as file:
                command = json.load(file)
            for number, output in enumerate(outputs, 1):
                os.dup2(output, number)
                os.close(output)
            os.chdir(command["folder"])
            os.environ.clear()
            os.environ.update(command["env"])
            sys.argv[1:] = command["arguments"]
            return True
        _, status = os.waitpid(child, 0)
        for opened in files:
            os.close(opened)
        asking.send(str(os.waitstatus_to_exitcode(status)).encode())


def main() -> None:
    """Serve the socket whose number is the argument."""
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        # What was imported is no garbage: forks need not search it, nor copy it.
        gc.freeze()
        is_fork = wait_for_commands(asking)
    if is_fork:
        try:
            runpy.run_module("processor", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            # To free what was imported would take as long as most commands.
            os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    main()
