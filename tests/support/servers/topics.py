"""Topics made and visible before anybody subscribes."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

_SECONDS = 60


async def create_topics(
    bootstrap: str, names: Sequence[str], partitions: int, replication: int = 1
) -> None:
    """Create, and return when the broker shows a leader for every partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, replication) for name in names])
        deadline = time.monotonic() + _SECONDS
        while True:
            described = await admin.describe_topics(list(names))
            leaders = [part["leader"] for topic in described for part in topic["partitions"]]
            if len(leaders) == partitions * len(names) and min(leaders) >= 0:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{names} have no leaders after {_SECONDS} s: {described}")
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
