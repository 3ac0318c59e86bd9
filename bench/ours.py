"""The processor itself, as a user runs it: `python -m processor run` on the load's topic."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.servers.process import free_port

from .measure import Job, Run, child, clocked


class Worker(NamedTuple):
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path


def run(job: Job) -> Run:
    """Measure one fresh worker."""
    with worker(job.bootstrap, job.topic, fresh_app_id(), job.folder) as (process, url, log):
        # The naive app's pace, and time to notice that it is stuck.
        return clocked("processor", job, process, url, log, 60 + job.events / 1000)


def fresh_app_id() -> str:
    return f"bench-{uuid.uuid4().hex[:12]}"


@contextmanager
def worker(bootstrap: str, topic: str, app_id: str, folder: Path) -> Iterator[Worker]:
    """One process of the app, with its log and its data in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "log"
    # Settings of the caller's shell must not change what is measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    env |= {
        "PROCESSOR_BROKER": f"kafka://{bootstrap}",
        "PROCESSOR_TOPICS": topic,
        "PROCESSOR_APP_ID": app_id,
        "PROCESSOR_METRICS_PORT": str(port),
        "PROCESSOR_INGRESS_PORT": str(free_port()),
        "PROCESSOR_DATA": str(folder / "data"),
        "PROCESSOR_ARCHIVE": "none",
    }
    with child([sys.executable, "-m", "processor", "run"], log, env) as process:
        yield Worker(process, f"http://127.0.0.1:{port}", log)
