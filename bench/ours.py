"""The processor itself, as a user runs it: `python -m processor run` on the load's topic."""

import os
import sys
import uuid
from pathlib import Path

from .load import Expected
from .measure import Run, child, clocked


def run(
    bootstrap: str, topic: str, ports: tuple[int, int], events: int, expected: Expected,
    folder: Path,
) -> Run:  # fmt: skip
    """Measure one fresh worker; `ports` are for the metrics and the ingress."""
    metrics_port, ingress_port = ports
    folder.mkdir(parents=True)
    # Settings of the caller's shell must not change what is measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    env |= {
        "PROCESSOR_BROKER": f"kafka://{bootstrap}",
        "PROCESSOR_TOPICS": topic,
        "PROCESSOR_APP_ID": f"bench-{uuid.uuid4().hex[:12]}",
        "PROCESSOR_METRICS_PORT": str(metrics_port),
        "PROCESSOR_INGRESS_PORT": str(ingress_port),
        "PROCESSOR_DATA": str(folder / "data"),
        "PROCESSOR_ARCHIVE": "none",
    }
    log = folder / "processor.log"
    with child([sys.executable, "-m", "processor", "run"], log, env) as process:
        url = f"http://127.0.0.1:{metrics_port}"
        # The naive app's pace, and time to notice that it is stuck.
        return clocked("processor", events, expected, process, url, log, 60 + events / 1000)
