"""The processor as a user runs it: `python -m processor run` in a process of its own."""

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.process import free_port

from .measure import Job, Run, Service, clocked, service


def run(job: Job) -> Run:
    """Measure one fresh worker on the job's topic."""
    with worker(job.bootstrap, job.topic, fresh_name(), job.folder) as one:
        # The naive app's pace, and time to notice that it is stuck.
        return clocked(one, job, 60 + job.events / 1000)


def fresh_name() -> str:
    """A name for an app or a topic that nothing else has."""
    return f"bench-{uuid.uuid4().hex[:12]}"


@contextmanager
def worker(
    bootstrap: str, topic: str, app_id: str, folder: Path,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Service]:  # fmt: skip
    """A worker of the app, without an archive, with its log and data in the folder.

    `settings` are environment variables that replace those made here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
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
        **(settings or {}),
    }
    command = [sys.executable, "-m", "processor", "run"]
    with service("processor", command, folder / "log", port, env) as one:
        yield one
