"""Measure the HTTP ingress with one event per request, on a real Kafka.

Binary CloudEvents go over connections that stay open; a request is answered when its event is on the
log. The client shares the machine, so it does as little as it can: requests made before, answers
read by their length.
"""

import asyncio
import itertools
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.servers.process import free_port

from .support.command import command, kafka_and_folder, parser
from .support.load import Event, Load
from .support.measure import BenchError, usage, wait_until
from .support.processor_app import fresh_name, worker
from .support.topic_fill import fresh_topic

_START_SECONDS = 60.0
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.ingress", __doc__, "--connections 10 --seconds 3")
    line.add_argument(
        "--connections", type=int, default=50, help="connections at a time (%(default)s)"
    )
    line.add_argument("--seconds", type=float, default=10.0, help="of load (%(default)s)")
    options = line.parse_args(arguments)
    with kafka_and_folder() as (bootstrap, folder):
        print(_run(bootstrap, folder, options.connections, options.seconds))
    return 0


def _run(bootstrap: str, folder: Path, connections: int, seconds: float) -> str:
    topic, port = fresh_topic(bootstrap, partitions=1), free_port()
    settings = {"PROCESSOR_INGRESS_PORT": str(port)}
    with worker(bootstrap, topic, fresh_name(), folder, settings) as one:
        wait_until(
            lambda: b"events in:" in one.log.read_bytes(), [one], _START_SECONDS,
            lambda: "the processor did not start",
        )  # fmt: skip
        requests = [_request(event) for event in itertools.islice(Load(50_000).events(), 60_000)]
        before = usage(one.process.pid)
        taken = asyncio.run(_load(port, itertools.cycle(requests), connections, seconds))
        used = usage(one.process.pid).cpu_seconds - before.cpu_seconds
    taken.sort()
    return (
        f"ingress: {len(taken) / seconds:,.0f} events/s, one a request, {connections} connections; "
        f"answer in {taken[len(taken) // 2] * 1e3:.1f} ms (99 %: "
        f"{taken[len(taken) * 99 // 100] * 1e3:.1f} ms); {used / len(taken) * 1e6:.0f} us of CPU an "
        "event, join and tally included"
    )


async def _load(
    port: int, requests: Iterator[bytes], connections: int, seconds: float
) -> list[float]:
    """Send for that many seconds; the seconds that each answer took."""
    taken: list[float] = []
    clock = time.perf_counter
    end = clock() + seconds

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (begin := clock()) < end:
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            if not head.startswith(b"HTTP/1.1 202 "):
                raise BenchError(f"the ingress answers {head!r} {body!r}")
            taken.append(clock() - begin)
        writer.close()

    await asyncio.gather(*[work() for _ in range(connections)])
    return taken


def _request(event: Event) -> bytes:
    lines = [b"POST / HTTP/1.1", b"host: localhost", b"content-length: %d" % len(event.value)]
    lines += [name.replace("_", "-").encode() + b": " + value for name, value in event.headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + event.value


if __name__ == "__main__":
    sys.exit(main())
