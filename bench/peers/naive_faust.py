"""The same job as most would first write it in Faust: `group_by`, then a table write per event.

It is right for one worker, and that is checked. It is also spared some of what the processor
does: the confusion counts are plain memory, and no event is ever refused or expired.
"""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import faust

from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics

from ..support.measure import Job, Run, clocked, service
from .job import Shown, changes, is_observation, joined, observation, request_id

_GROUP = "by-request"


def build(app_id: str, bootstrap: str, topic: str, port: int, folder: Path) -> Any:
    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=str(folder),
        topic_partitions=8,
        topic_replication_factor=1,
        table_standby_replicas=0,
        web_host="127.0.0.1",
        web_port=port,
        # The same fetches, polls and batches as for the other systems.
        consumer_max_fetch_size=4 * 1024 * 1024,
        broker_max_poll_records=5_000,
        producer_linger=0.05,
        producer_max_batch_size=256 * 1024,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topic, key_type=bytes, value_serializer="json")
    requests = app.Table("requests", key_type=bytes, default=list)
    shown = Shown()

    def says_something(_: Any) -> bool:
        shown.events += 1
        return is_observation(faust.current_event().headers)

    def by_request(_: Any) -> bytes:
        return request_id(faust.current_event().headers)

    async def join(stream: Any) -> None:
        observed = stream.filter(says_something)
        async for event in observed.group_by(by_request, name=_GROUP).events():
            before = requests[event.key]
            after = joined(before, observation(event.headers, event.value))
            if after is not None:
                requests[event.key] = after
                shown.add(changes(before, after))

    async def metrics(web: Any, _: Any) -> Any:
        return web.text(shown.metrics())

    async def models(web: Any, _: Any) -> Any:
        return web.json(shown.models())

    app.agent(source)(join)
    app.page("/metrics")(metrics)
    app.page("/api/models")(models)
    return app


def run(job: Job) -> Run:
    """Measure it in a process of its own.

    Its internal topics are made here: Faust would make them too late, since it ignores a topic
    that is missing when it subscribes.
    """
    app_id, port = f"naive-{uuid.uuid4().hex[:12]}", free_port()
    internal = [f"{job.topic}-{_GROUP}-repartition", f"{app_id}-requests-changelog"]
    asyncio.run(create_topics(job.bootstrap, internal, job.partitions))
    options = json.dumps([app_id, job.bootstrap, job.topic, port, str(job.folder)])
    command = [sys.executable, "-m", "bench.peers.naive_faust", options]
    with service("naive", command, job.folder / "log", port) as one:
        # A tenth of the slowest rate seen; it is there to end, not to judge.
        return clocked(one, job, 60 + job.events / 100)


def main() -> None:
    """Its one argument is JSON: [app id, bootstrap servers, topic, web port, data folder]."""
    app_id, bootstrap, topic, port, folder = json.loads(sys.argv[1])
    app = build(app_id, bootstrap, topic, port, Path(folder))
    faust.Worker(app, loglevel="WARN").execute_from_commandline()


if __name__ == "__main__":
    main()
