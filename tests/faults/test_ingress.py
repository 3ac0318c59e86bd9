"""Events that come over HTTP while their worker is ended, and killed."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from bench.support.load import Load
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import RawEvent
from tests.support.faults.cluster import WorkerCluster, freeze, until
from tests.support.faults.dispatcher import Dispatcher, binary
from tests.support.faults.outcomes import Outcome
from tests.support.faults.size import Size
from tests.support.reports.command import output_of
from tests.support.servers import Broker, KafkaServer
from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics


@pytest.mark.long
async def test_a_dispatcher_loses_and_repeats_nothing(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    tmp_path: Path,
    size: Size,
    outcome: Outcome,
) -> None:
    """SIGTERM and kill -9 of the only worker while events are POSTed at it; in the end the numbers are
    those of a replay of the events."""
    load = Load.of_events(size.events // 4, models=10)
    events = list(load.events())
    port = free_port()
    dispatcher = Dispatcher(f"http://127.0.0.1:{port}/")

    async with WorkerCluster(
        kafka.bootstrap, topic(), app_id, load, tmp_path, size, outcome
    ) as worker_cluster:
        worker = worker_cluster.start(ingress_port=port)
        await worker_cluster.until_ready()
        begin = time.monotonic()
        sending = asyncio.create_task(dispatcher.run(events))

        async def reach(share: float) -> None:
            def reached() -> bool:
                return dispatcher.delivered >= share * len(events) or sending.done()

            await until(reached, 300, f"{share:.0%} of the events")
            assert not sending.done()

        await reach(0.3)
        await worker_cluster.terminate(worker)
        worker = worker_cluster.start(ingress_port=port)
        await reach(0.6)
        worker_cluster.kill(worker)
        worker_cluster.start(ingress_port=port)
        await sending
        took = time.monotonic() - begin
        print(
            f"{len(events)} events, {dispatcher.delivered} deliveries in {took:.1f} s, "
            f"{dispatcher.delivered / took:.0f}/s; retries: {dict(dispatcher.retries)}"
        )
        assert dispatcher.answers.keys() == {202}
        assert dispatcher.delivered > len(events)
        assert dispatcher.retries
        await worker_cluster.until_exact()
        shown = {model["deployment"]: model for model in await worker_cluster.models()}
    worker_cluster.check_logs()

    path = tmp_path / "events.ndjson"
    path.write_bytes(
        b"".join(format_line(RawEvent(headers, value, 0)) + b"\n" for headers, value in events)
    )
    replayed = json.loads(output_of("replay", path))["models"]
    assert shown == {model["deployment"]: model for model in replayed}


async def test_a_broker_that_hangs_is_answered_with_503_in_time(
    app_id: str, tmp_path: Path, size: Size, outcome: Outcome
) -> None:
    """Nobody waits for long, the same event sent again counts once, and an end is answered too."""
    load = Load(1)
    event = next(iter(load.events()))
    headers, body = binary(event)
    port = free_port()
    with KafkaServer() as server, thawed_at_end(server.pid):
        await create_topics(server.bootstrap, ["source"], 8)
        async with (
            WorkerCluster(
                server.bootstrap, "source", app_id, load, tmp_path, size, outcome
            ) as worker_cluster,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
        ):

            async def post() -> tuple[int, str, str]:
                url = f"http://127.0.0.1:{port}/"
                async with session.post(url, data=body, headers=headers) as answer:
                    retry_after = answer.headers.get("Retry-After", "")
                    reason = "" if answer.status == 202 else (await answer.json())["reason"]
                    return answer.status, retry_after, reason

            worker = worker_cluster.start(ingress_port=port)
            await worker_cluster.until_ready()
            await freeze(server.pid)
            assert await post() == (503, "5", "unavailable")
            begin = time.monotonic()
            assert await post() == (503, "5", "unavailable")
            print(f"refused at once: {time.monotonic() - begin:.3f} s")
            os.kill(server.pid, signal.SIGCONT)
            statuses = []

            async def accepted() -> bool:
                statuses.append((await post())[0])
                return statuses[-1] == 202

            await until(accepted, 60, "taken in")
            assert set(statuses) <= {202, 503}

            async def counted() -> bool:
                return await worker_cluster.predictions() == 1

            await until(counted, 60, "one prediction")
            await freeze(server.pid)
            waiting = asyncio.create_task(post())
            # The worker is told to end while the request waits for the broker.
            await asyncio.wait([waiting], timeout=0.5)
            assert not waiting.done()
            worker.signal(signal.SIGTERM)
            assert await waiting == (503, "5", "shutting_down")
            assert "1 requests did not end within" in worker.text
            await worker.wait(12)


@contextmanager
def thawed_at_end(pid: int) -> Iterator[None]:
    """A process that may be frozen goes on after the test, so that it can be ended."""
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
