"""One system under the clock: its process, CPU time and memory, and whether its counts are right.

The clock runs from a system's first event until its counts equal the truth, so start-up is
excluded. Both ends are on the safe side: it starts when the system last said "no event yet",
and stops when the right answer has arrived.
"""

import json
import os
import re
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
from typing import Any, NamedTuple

from .load import NAMESPACE, Expected, ModelCounts

_ROOT = Path(__file__).resolve().parents[2]
_START_POLL_SECONDS = 0.05
_RESULT_POLL_SECONDS = 0.1
_LONGEST_PAUSE = 0.5
_START_SECONDS = 180.0


class BenchError(Exception):
    """A system did not start, ended early, or never reached the truth."""


class Service(NamedTuple):
    """A running process that answers HTTP at `url` and writes to the file `log`."""

    name: str
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path


@dataclass(frozen=True)
class Usage:
    """CPU time so far, and the most memory that was resident."""

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
    """What one run of a system took; `cpu_seconds` and `peak_bytes` with its descendants."""

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


@contextmanager
def service(
    name: str, command: Sequence[str], log: Path, port: int, env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """A process that serves HTTP on a local port, ended with the block."""
    with child(command, log, env) as process:
        yield Service(name, process, f"http://127.0.0.1:{port}", log)


def run_json(module: str, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Any:
    """What `python -m module` prints as JSON, run in a fresh process for at most 900 s.

    A fresh process, since what an earlier run left in memory would be counted, or hide what the next
    one takes. A BenchError has the output on stderr.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=_ROOT, env=env, capture_output=True,
            text=True, timeout=900,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{module} did not end within {error.timeout:g} s") from None
    if done.returncode != 0:
        raise BenchError(f"{module} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def wait_until(
    done: Callable[[], bool], services: Sequence[Service], seconds: float,
    missing: Callable[[], str], pause: float = _RESULT_POLL_SECONDS,
) -> None:  # fmt: skip
    """Ask until it is done, for at most `seconds`, while none of the services ends.

    After a slow answer it asks less often: answers are made with the CPU that is measured, and one
    system's say far more than another's. A BenchError has the end of a log, and what `missing` says
    when the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if done():
            return
        answered = time.monotonic()
        for name, process, _, log in services:
            if process.poll() is not None:
                raise BenchError(f"{name} ended with {process.returncode}:\n{tail(log)}")
        if time.monotonic() > deadline:
            name, _, _, log = services[0]
            raise BenchError(f"{name}: {missing()} after {seconds:g} s:\n{tail(log)}")
        time.sleep(max(pause, min(_LONGEST_PAUSE, 9 * (answered - asked))))


def clocked(one: Service, job: Job, seconds: float) -> Run:
    """Measure a running system that shows its events at /metrics and its counts at /api/models."""
    begin = time.monotonic()
    used = usage(one.process.pid)

    def started() -> bool:
        nonlocal begin, used
        # From before the question: a busy system may answer late.
        asked, used_then = time.monotonic(), usage(one.process.pid)
        count = events_total(one.url)
        if count == 0:
            begin, used = asked, used_then
        return bool(count)

    wait_until(started, [one], _START_SECONDS, lambda: "no event read", _START_POLL_SECONDS)
    wait_until_exact([one], job.expected, seconds)
    elapsed = time.monotonic() - begin
    total = usage(one.process.pid)
    cpu_seconds = total.cpu_seconds - used.cpu_seconds
    return Run(one.name, job.events, elapsed, cpu_seconds, total.peak_bytes)


def wait_until_exact(services: Sequence[Service], expected: Expected, seconds: float) -> None:
    """Ask the services until their models together are as expected, for at most `seconds`."""
    wrong: list[str] = []

    def exact() -> bool:
        wrong[:] = differences(expected, [each for one in services for each in models(one.url)])
        return not wrong

    wait_until(exact, services, seconds, lambda: "wrong: " + "; ".join(wrong[:5]))


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


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process, without its descendants; of this one by default; 0 after its end (Linux)."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child_pid in children.read_text().split():
                yield from _descendants(int(child_pid))


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def get(url: str) -> bytes | None:
    """The body of an answer with status 200; None of any other answer or none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError):
        return None


def metric(url: str, name: str) -> float | None:
    """The value of a metric without labels; None while it is not shown."""
    found = re.search(rf"^{name} (\S+)$", (get(f"{url}/metrics") or b"").decode(), re.MULTILINE)
    return None if found is None else float(found[1])


def events_total(url: str) -> float | None:
    """The events of all types that a system has read; None while it does not answer."""
    body = get(f"{url}/metrics")
    if body is None:
        return None
    return sum(
        float(line.rpartition(" ")[2])
        for line in body.decode().splitlines()
        if line.startswith("processor_events_total")
    )


def models(url: str) -> list[dict[str, Any]]:
    """Counts of all time by model, by time of the request, of one worker; none while it does not
    answer."""
    query = "window=all&by=request"
    for path in ("/api/worker/models", "/api/models"):
        if (body := get(f"{url}{path}?{query}")) is not None:
            answer = json.loads(body)
            # Other systems have no route for one of several workers, or answer alike on each.
            found: list[dict[str, Any]] = answer.get("body", answer)["models"]
            return found
    return []
