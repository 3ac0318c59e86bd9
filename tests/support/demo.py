"""The demo as a process of its own, its numbers settled: what looks at a live worker shares it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120.0


class Demo(NamedTuple):
    """Addresses of a running demo, each with a slash at its end."""

    page: str
    events: str


@contextmanager
def running_demo() -> Iterator[Demo]:
    """`processor demo`, once it says that its numbers have settled; ended with the block."""
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    env |= {"PROCESSOR_METRICS_PORT": "0", "PROCESSOR_INGRESS_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "processor", "demo"],
        cwd=_ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    # Without it a demo that hangs would keep the reading below for ever.
    deadline = threading.Timer(_PATIENCE, process.kill)
    deadline.start()
    said = []
    addresses: dict[str, str] = {}
    try:
        for line in process.stdout:
            said.append(line)
            if match := re.match(r"(page|events) +(http\S+)", line):
                addresses[match[1]] = match[2]
            if line.startswith("settled"):
                break
        else:
            raise AssertionError("the demo did not settle:\n" + "".join(said))
        deadline.cancel()
        yield Demo(addresses["page"], addresses["events"])
        process.send_signal(signal.SIGTERM)
        # Its last words are read, so that it can't block on a full pipe.
        process.communicate(timeout=60)
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()
