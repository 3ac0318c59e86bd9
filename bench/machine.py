"""The machine that a benchmark ran on, as its figures need it to be known."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.servers.kafka import VERSION as KAFKA


def description() -> dict[str, Any]:
    """CPU, cores that we may use, memory in GiB, versions, and the load as it is now."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "java": _java(),
        "kafka": "as given" if os.environ.get("PROCESSOR_TEST_KAFKA") else KAFKA,
        "load_average_before": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _java() -> str | None:
    java = shutil.which("java")
    if java is None:
        return None
    done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    return next(iter(done.stderr.splitlines()), None)
