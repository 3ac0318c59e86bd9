"""One system under the clock: its process, what it uses, and whether it has got the truth.

The clock runs from a system's first event until its counts equal the truth, so start-up is
excluded. Both ends are on the safe side: it starts when the system last said "no event yet",
and stops when the right answer has arrived.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .load import NAMESPACE, Expected, ModelCounts

_ROOT = Path(__file__).resolve().parents[1]
_START_POLL_SECONDS = 0.05
_RESULT_POLL_SECONDS = 0.1
_START_SECONDS = 180.0


class BenchError(Exception):
    """A system did not start, ended early, or never reached the truth."""


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Job:
    """What a system is given: a filled topic, its truth, and an empty folder of its own."""

    bootstrap: str
    topic: str
    partitions: int
    events: int
    expected: Expected
    folder: Path


@dataclass(frozen=True)
class Run:
    system: str
    events: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per event."""
        return self.cpu_seconds / self.events * 1e6


def end_in_order_on_sigterm() -> None:
    """SIGTERM ends this process as Ctrl-C does: with what it has started, and its files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def child(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in the project's root that writes to `log`, ended by its id on the way out."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def clocked(
    system: str, job: Job, process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float
) -> Run:
    """Measure a running system that shows its events at /metrics and its counts at /api/models."""

    def wait(poll: Callable[[], bool], pause: float, limit: float, what: Callable[[], str]) -> None:
        deadline = time.monotonic() + limit
        while not poll():
            if process.poll() is not None:
                raise BenchError(f"{system} ended with {process.returncode}:\n{tail(log)}")
            if time.monotonic() > deadline:
                raise BenchError(f"{system}: {what()} after {limit:g} s:\n{tail(log)}")
            time.sleep(pause)

    begin = time.monotonic()
    used = usage(process.pid)

    def started() -> bool:
        nonlocal begin, used
        # From before the question: a busy system may answer late.
        asked, used_then = time.monotonic(), usage(process.pid)
        count = events_total(url)
        if count == 0:
            begin, used = asked, used_then
        return bool(count)

    wanted: list[str] = []

    def right() -> bool:
        nonlocal wanted
        wanted = differences(job.expected, models(url))
        return not wanted

    wait(started, _START_POLL_SECONDS, _START_SECONDS, lambda: "no event read")
    wait(right, _RESULT_POLL_SECONDS, seconds, lambda: "wrong: " + "; ".join(wanted[:5]))
    elapsed = time.monotonic() - begin
    total = usage(process.pid)
    return Run(system, job.events, elapsed, total.cpu_seconds - used.cpu_seconds, total.peak_bytes)


def differences(expected: Expected, found: list[dict[str, Any]]) -> list[str]:
    """What differs from the truth, model by model and cell by cell; empty when all is right."""
    shown = {model["deployment"]: model for model in found if model.get("namespace") == NAMESPACE}
    wrong = [f"unknown model {name}" for name in shown.keys() - expected.models.keys()]
    for name, counts in expected.models.items():
        if name not in shown:
            wrong.append(f"no model {name}")
            continue
        if (difference := _difference(counts, shown[name])) is not None:
            wrong.append(f"{name} {difference}")
    return wrong


def _difference(counts: ModelCounts, model: dict[str, Any]) -> str | None:
    for what in ("predictions", "judged", "correct"):
        if model[what] != getattr(counts, what):
            return f"{what} {model[what]}, not {getattr(counts, what)}"
    cells = {(cell["actual"], cell["predicted"]): cell["count"] for cell in model["confusion"]}
    return None if cells == dict(counts.cells) else f"cells {cells}, not {dict(counts.cells)}"


def usage(pid: int) -> Usage:
    """CPU so far and peak memory of a process and its descendants, by Linux's /proc.

    Zeros on other systems.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    cpu, peak = 0.0, 0
    for process in _descendants(pid):
        with suppress(OSError):
            # After the name, which may hold spaces: utime and stime are fields 14 and 15.
            parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(parts[11]) + int(parts[12])) / ticks
            peak += _peak_bytes(Path(f"/proc/{process}/status").read_text())
    return Usage(cpu, peak)


def _peak_bytes(status: str) -> int:
    """0 of a process that has ended and was not waited for yet: it has no memory any more."""
    line = status.partition("VmHWM:")[2]
    return int(line.split()[0]) * 1024 if line else 0


def own_usage() -> Usage:
    """The same for this process, without /proc's granularity of 10 ms."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child_pid in children.read_text().split():
                yield from _descendants(int(child_pid))


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def get(url: str) -> bytes | None:
    """The body; None while nobody answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError):
        return None


def events_total(url: str) -> float | None:
    body = get(f"{url}/metrics")
    if body is None:
        return None
    return sum(
        float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith("processor_events_total")
    )


def models(url: str) -> list[dict[str, Any]]:
    body = get(f"{url}/api/models?window=all&by=request")
    if body is None:
        return []
    found: list[dict[str, Any]] = json.loads(body)["models"]
    return found
