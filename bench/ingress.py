"""`python -m bench.ingress`: what one event a request costs at the HTTP door, on real Kafka.

Binary mode over connections that stay open; a request is answered when its event is on the log. The
client shares the machine, so it does as little as it can: bytes made before, answers by length.
"""

import argparse
import asyncio
import itertools
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import kafka_server
from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics

from .load import Event, Load
from .measure import BenchError, child, tail, usage

_START_SECONDS = 60.0
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ingress", description=__doc__)
    parser.add_argument("--connections", type=int, default=50, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load (%(default)s)")
    options = parser.parse_args()
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            print(_run(broker.bootstrap, Path(folder), options.connections, options.seconds))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _run(bootstrap: str, folder: Path, connections: int, seconds: float) -> str:
    topic, port = f"bench-{uuid.uuid4().hex[:12]}", free_port()
    asyncio.run(create_topics(bootstrap, [topic], 1))
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")}
    env |= {
        "PROCESSOR_BROKER": f"kafka://{bootstrap}",
        "PROCESSOR_TOPICS": topic,
        "PROCESSOR_APP_ID": topic,
        "PROCESSOR_METRICS_PORT": str(free_port()),
        "PROCESSOR_INGRESS_PORT": str(port),
        "PROCESSOR_DATA": str(folder / "data"),
        "PROCESSOR_ARCHIVE": "none",
    }
    log = folder / "processor.log"
    with child([sys.executable, "-m", "processor", "run"], log, env) as process:
        deadline = time.monotonic() + _START_SECONDS
        while b"events in:" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"the processor does not start:\n{tail(log)}")
            time.sleep(0.1)
        requests = [_request(event) for event in itertools.islice(Load(50_000).events(), 60_000)]
        before = usage(process.pid)
        taken = asyncio.run(_load(port, itertools.cycle(requests), connections, seconds))
        used = usage(process.pid).cpu_seconds - before.cpu_seconds
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
    """Seconds that each answer took."""
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
