"""Measure how long a scrape of many series takes, and how long it stops the worker.

A worker on a real Kafka counts a load of many models. Once its counts are exact, /metrics is fetched
again and again, compressed as Prometheus does and plain, while /health is asked without a pause. Its
slowest answer shows how long the event loop, and with it the stream, had to wait for the scrape.
"""

import gzip
import http.client
import sys
import threading
import time
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

from .support.command import command, kafka_and_folder, parser
from .support.measure import BenchError, clocked
from .support.processor_app import fresh_name, worker
from .support.topic_fill import fill


class _Health:
    """Asks for /health until the block ends; `longest` is the time of the slowest answer, in seconds."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._url = url
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "_Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=30)
        try:
            _fetch(connection, "/health", {})
            while not self._over.is_set():
                begin = time.perf_counter()
                _fetch(connection, "/health", {})
                self.longest = max(self.longest, time.perf_counter() - begin)
        except (OSError, http.client.HTTPException, BenchError) as error:
            self._error = BenchError(f"/health: {error}")
        finally:
            connection.close()


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.scrape", __doc__, "--events 20000 --models 20 --scrapes 5")
    line.add_argument("--events", type=int, default=200_000, help="number of events (%(default)s)")
    line.add_argument("--models", type=int, default=140, help="number of deployments (%(default)s)")
    line.add_argument(
        "--scrapes", type=int, default=30, help="scrapes, packed and plain each (%(default)s)"
    )
    options = line.parse_args(arguments)
    with kafka_and_folder() as (bootstrap, folder):
        job = fill(bootstrap, options.events, options.models).job(folder / "worker")
        with worker(job.bootstrap, job.topic, fresh_name(), job.folder) as one:
            clocked(one, job, seconds=300)
            print(table(one.url, options.scrapes))
    return 0


def table(url: str, scrapes: int) -> str:
    """Markdown: a row for each kind of scrape."""
    lines = [
        "| scrape | series | bytes | median, ms | slowest, ms | longest wait of another, ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind, headers in ("packed", {"Accept-Encoding": "gzip"}), ("plain", {}):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        taken = []
        with _Health(url) as health:
            for _ in range(scrapes):
                begin = time.perf_counter()
                body = _fetch(connection, "/metrics", headers)
                taken.append(time.perf_counter() - begin)
        connection.close()
        text = gzip.decompress(body) if headers else body
        series = sum(not line.startswith(b"#") for line in text.splitlines())
        lines.append(
            f"| {kind} | {series:,} | {len(body):,} | {median(taken) * 1e3:.0f} "
            f"| {max(taken) * 1e3:.0f} | {health.longest * 1e3:.0f} |"
        )
    return "\n".join(lines)


def _fetch(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise BenchError(f"{path} answers {answer.status}")
    return body


if __name__ == "__main__":
    sys.exit(main())
