"""The machine's ceiling: an aiokafka loop that decodes each event's body and does nothing else.

It runs in a process of its own, as the other systems do; its one argument is JSON: [bootstrap
servers, topic, number of events].
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict

import msgspec
from aiokafka import AIOKafkaConsumer

from ..support.measure import BenchError, Job, Run, own_usage, run_json

FETCH_BYTES = 4 * 1024 * 1024
POLL_RECORDS = 5_000


async def read(bootstrap: str, topic: str, events: int) -> Run:
    """Read so many events from the start of the topic; the clock starts with the first."""
    decode = msgspec.json.Decoder().decode
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES, max_poll_records=POLL_RECORDS,
    )  # fmt: skip
    kinds: Counter[bool] = Counter()
    async with consumer:
        begin: float | None = None
        used = own_usage()
        while kinds.total() < events:
            batches = await consumer.getmany(timeout_ms=10_000, max_records=POLL_RECORDS)
            if not batches:
                raise BenchError(f"only {kinds.total()} of {events} events came within 10 s")
            if begin is None:
                begin, used = time.perf_counter(), own_usage()
            for records in batches.values():
                for record in records:
                    kinds["reward" in decode(record.value)] += 1
        assert begin is not None
        seconds = time.perf_counter() - begin
    if kinds.total() != events or len(kinds) != 2:
        raise BenchError(f"read {dict(kinds)} of {events} events")
    total = own_usage()
    cpu_seconds = total.cpu_seconds - used.cpu_seconds
    return Run("bare", events, seconds, cpu_seconds, total.peak_bytes)


def run(job: Job) -> Run:
    """Measure the loop in a fresh process."""
    arguments = json.dumps([job.bootstrap, job.topic, job.events])
    return Run(**run_json("bench.peers.baseline_consumer", [arguments]))


def main() -> None:
    print(json.dumps(asdict(asyncio.run(read(*json.loads(sys.argv[1]))))))


if __name__ == "__main__":
    main()
