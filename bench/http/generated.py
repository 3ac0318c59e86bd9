"""Send generated requests to the ingress port of an embedded service.

schemathesis makes them from /openapi.json: valid and invalid ones to every route. No answer may be a
500 or one that the document does not name, and processor_ingress_requests_total must be what was sent.
"""

import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from bench.support.command import command, parser
from bench.support.generated_requests import GeneratedRequests
from bench.support.measure import BenchError
from tests.support.faults.cluster import Worker
from tests.support.servers.process import free_port

_START_SECONDS = 60.0
_COUNTED = re.compile(
    r'^processor_ingress_requests_total\{route="([^"]*)",status="([^"]*)"\} (\S+)', re.MULTILINE
)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.http.generated", __doc__, "--requests 2000")
    line.add_argument(
        "--requests", type=int, default=100_000, help="number of requests, about (%(default)s)"
    )
    line.add_argument(
        "--times", type=int, default=10, help="how often each one is sent (%(default)s)"
    )
    line.add_argument("--seed", type=int, default=1, help="another one makes others (%(default)s)")
    options = line.parse_args(arguments)
    with _service() as (ingress, metrics):
        start = time.monotonic()
        generated = GeneratedRequests(ingress, options.times, options.seed)
        answers = generated.send("ingress", options.requests, ("/", "/feedback"))
        seconds = time.monotonic() - start
        counted = _counted(metrics)
    counted["/openapi.json", "200"] -= 1  # the document itself
    print(f"{sum(answers.by_path.values()):,} requests in {seconds:.0f} s")
    for (path, status), number in sorted(answers.by_path.items()):
        print(f"  {path:10} {status}  {number:,}")
    for failure in answers.failures[:5]:
        print(failure, file=sys.stderr)
    if answers.failures:
        raise BenchError(f"{len(answers.failures)} answers that the document does not allow")
    if +counted != answers.by_path:
        raise BenchError(f"counted were {dict(+counted)}")
    print("every answer is one that the document names, and all were counted")
    return 0


@contextmanager
def _service() -> Iterator[tuple[str, str]]:
    """The addresses of the ingress and the metrics port of a fresh embedded service."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        port = free_port()
        env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        env |= {"PROCESSOR_INGRESS_PORT": str(port), "PROCESSOR_DATA": f"{folder}/data"}
        worker = Worker(Path(folder) / "log", env, "")
        try:
            end = time.monotonic() + _START_SECONDS
            while "ready:" not in worker.text:
                if not worker.alive or time.monotonic() > end:
                    raise BenchError(f"the service did not start: {worker.text[-2000:]}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{worker.port}/"
        finally:
            worker.kill()


def _counted(metrics: str) -> Counter[tuple[str, str]]:
    text = requests.get(f"{metrics}metrics", timeout=60).text
    return Counter(
        {(route, status): int(float(number)) for route, status, number in _COUNTED.findall(text)}
    )


if __name__ == "__main__":
    sys.exit(main())
