"""Play a month of events through a real embedded service as fast as it takes them.

The events are written to the service's archive from this process, with the functions and the durability
of the ingress's sink, 20,000 in a commit, since HTTP takes longer than the fold. Their times of
acceptance are simulated, and the service's clock shows the time of the last event; it saves its state,
and deletes old events, every second of the true clock. After each simulated day every cell of its
confusion matrix must be that of the generator. At the end the service is killed and started again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from processor.archive.sqlite.file import (
    connect_to_write,
    insert,
    query_number,
    transaction,
)
from processor.domain.timestamps import SECOND
from processor.embedded.state_file import position as state_position
from tests.support.faults.shared_clock import Clock, make_clock, set_clock

from ..support.command import command, parser
from ..support.measure import BenchError
from .stream import EVENTS_PER_REQUEST, Stream

DAY = 86_400 * SECOND
#: Steps of the stream in a commit, and events that the writer may be ahead.
_STEPS, _AHEAD = 12_000, 500_000
_PATIENCE = 900.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Service:
    """An embedded service on a folder, that can be killed and started again."""

    def __init__(self, folder: Path, port: int, env: dict[str, str]) -> None:
        self._log = folder / "service.log"
        self._env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        self._env |= {
            "PROCESSOR_DATA": str(folder / "data"),
            "PROCESSOR_METRICS_PORT": str(port),
            "PROCESSOR_INGRESS_PORT": str(port + 1),
            "FAULT": f"shared_clock:{folder / 'clock'}",
            **env,
        }
        self._url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.faults.shared_clock", "run"],
                env=self._env,
                stdout=log,
                stderr=log,
            )
        self.wait(lambda: (self.ready() or {}).get("ready"), "a ready service")

    def end(self, number: signal.Signals) -> None:
        """End it by a signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)

    def get(self, path: str) -> Any:
        """The JSON at a path; None if there is no answer. Also that of an error."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with suppress(ValueError):
                return json.load(error)
        except OSError:
            pass
        return None

    def ready(self) -> Any:
        """The answer of /ready."""
        return self.get("/ready")

    def wait(self, condition: Any, what: str) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert self._process is not None
            if self._process.poll() is not None:
                raise BenchError(f"the service has ended: see {self._log}")
            if time.monotonic() > end:
                raise BenchError(f"no {what} after {_PATIENCE:.0f} s")
            time.sleep(0.05)

    @property
    def memory(self) -> int:
        """Bytes that are resident now."""
        return self._status("VmRSS:")

    @property
    def peak(self) -> int:
        """The most bytes that were ever resident."""
        return self._status("VmHWM:")

    def _status(self, name: str) -> int:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition(name)[2].split()[0]) * 1024

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


class Feeder:
    """Writes a stream to the archive of a running service, and compares."""

    def __init__(self, service: Service, path: Path, stream: Stream, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self.refusals = 0
        """How often the service said meanwhile that it can't take events."""
        self.stream = stream
        self._connection = connect_to_write(path, 60.0)
        self.last = query_number(self._connection, "SELECT COALESCE(MAX(seq), 0) FROM events")

    def write(self, steps: int, end: float) -> None:
        """Write the events of so many steps, with a bounded lead; no more at the time ``end``."""
        while steps > 0 and time.monotonic() < end:
            some = min(steps, _STEPS)
            rows = list(self.stream.take(some))
            set_clock(self._clock, rows[-1][0])
            with transaction(self._connection):
                insert(self._connection, self.last + 1, rows)
            self.last += len(rows)
            steps -= some
            while self._lag() > _AHEAD:
                time.sleep(0.2)

    def _lag(self) -> int:
        """Events that are not counted yet."""
        found = self._service.ready() or {"ready": True, "lag": 0}
        self.refusals += not found["ready"]
        return int(found["lag"] or 0)

    def is_exact(self) -> bool:
        """Whether the service shows every cell as it is."""
        found = self._service.get("/api/models?window=all&by=request")
        if not found or not found["models"]:
            return False
        (model,) = found["models"]
        cells = {(one["actual"], one["predicted"]): one["count"] for one in model["confusion"]}
        return (model["predictions"], cells) == (self.stream.predictions, self.stream.cells)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        env = {"PROCESSOR_RETENTION": options.retention}
        if options.max_memory:
            env["PROCESSOR_MAX_MEMORY"] = options.max_memory
        service = Service(folder, options.port, env)
        stack.callback(service.end, signal.SIGKILL)
        interval = round(SECOND * EVENTS_PER_REQUEST / options.rate)
        stream = Stream(time.time_ns() - options.days * DAY, interval)
        position = folder / "stream.json"
        if position.exists():
            stream.restore(json.loads(position.read_text()))
        clock = make_clock(folder / "clock", stream.now)
        service.start()
        feeder = Feeder(service, folder / "data" / "events.sqlite", stream, clock)
        end = time.monotonic() + options.minutes * 60
        _play(options.days, service, feeder, folder, end)
        position.write_text(json.dumps(stream.position()))
        _restart(service, feeder, folder / "data")
    return 0


def _play(days: int, service: Service, feeder: Feeder, folder: Path, end: float) -> None:
    print("| day | events | events/s | CPU, us an event | resident, MB | disk, GB | exact |")
    print("|--:|--:|--:|--:|--:|--:|---|", flush=True)
    stream = feeder.stream
    first = stream.step * stream.interval // DAY
    for day in range(first + 1, days + 1):
        before, cpu, started = stream.events, service.cpu, time.monotonic()
        feeder.write(day * DAY // stream.interval - stream.step, end)
        service.wait(feeder.is_exact, "exact counts")
        events, seconds = stream.events - before, time.monotonic() - started
        disk = sum(file.stat().st_blocks * 512 for file in (folder / "data").iterdir())
        print(
            f"| {stream.step * stream.interval / DAY:.2f} | {stream.events:,} "
            f"| {events / seconds:,.0f} | {(service.cpu - cpu) / max(1, events) * 1e6:.1f} "
            f"| {service.memory / 1e6:.0f} | {disk / 1e9:.2f} | yes |",
            flush=True,
        )
        if time.monotonic() >= end:
            break
    print(
        f"\nmost memory: {service.peak / 1e6:.0f} MB; answers 503 of /ready: {feeder.refusals}",
        flush=True,
    )


def _restart(service: Service, feeder: Feeder, data: Path) -> None:
    """Kill the service some minutes after the last event, as at a slow rate, and end it in order."""
    service.wait(
        lambda: max(map(state_position, data.glob("*.state")), default=0) == feeder.last,
        "state of the last event",
    )
    for number, name in ((signal.SIGKILL, "kill -9"), (signal.SIGTERM, "SIGTERM")):
        service.end(number)
        started = time.monotonic()
        service.start()
        service.wait(
            lambda: (service.get("/ready?wait=bootstrap") or {}).get("ready"), "a complete start"
        )
        seconds = time.monotonic() - started
        service.wait(feeder.is_exact, "exact counts")
        print(
            f"after {name} with {feeder.last:,} events: complete in {seconds:.1f} s, "
            f"{service.cpu:.1f} s of CPU, exact",
            flush=True,
        )


def _parser() -> argparse.ArgumentParser:
    line = parser("bench.embedded", __doc__, "--days 1 --rate 5")
    line.add_argument("--days", type=int, default=30, help="simulated days (default: 30)")
    line.add_argument("--rate", type=float, default=50.0, help="events a second (default: 50)")
    line.add_argument("--retention", default="8d", help="PROCESSOR_RETENTION (default: 8d)")
    line.add_argument("--max-memory", default="", help="PROCESSOR_MAX_MEMORY")
    line.add_argument("--folder", type=Path, help="keeps the data (default: a temporary one)")
    line.add_argument("--port", type=int, default=9410, help="two ports from here on are used")
    line.add_argument(
        "--minutes",
        type=float,
        default=1e9,
        help="how long to play; the next run goes on in --folder",
    )
    return line


if __name__ == "__main__":
    sys.exit(main())
