"""Events that come over HTTP while their worker is ended, and killed."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.load import Load
from processor.domain.events import RawEvent
from processor.domain.events_file import format_line
from tests.faults.crew import Crew, until
from tests.faults.dispatcher import Dispatcher
from tests.faults.size import Size
from tests.servers import Broker
from tests.servers.process import free_port


async def test_a_dispatcher_loses_and_repeats_nothing(
    kafka: Broker, topic: Callable[..., str], app_id: str, tmp_path: Path, size: Size
) -> None:
    """SIGTERM and kill -9 of the only worker while events are POSTed at it; in the end the numbers are
    those of a replay of the events."""
    load = Load.of_events(size.events // 4, models=10)
    events = list(load.events())
    port = free_port()
    dispatcher = Dispatcher(f"http://127.0.0.1:{port}/")

    async with Crew(kafka.bootstrap, topic(), app_id, load, tmp_path, size) as crew:
        worker = crew.start(ingress_port=port)
        await crew.until_ready()
        begin = time.monotonic()
        sending = asyncio.create_task(dispatcher.run(events))

        async def reach(share: float) -> None:
            def reached() -> bool:
                return dispatcher.delivered >= share * len(events) or sending.done()

            await until(reached, 300, f"{share:.0%} of the events")
            assert not sending.done()

        await reach(0.3)
        await crew.terminate(worker)
        worker = crew.start(ingress_port=port)
        await reach(0.6)
        crew.kill(worker)
        crew.start(ingress_port=port)
        await sending
        took = time.monotonic() - begin
        print(
            f"{len(events)} events, {dispatcher.delivered} deliveries in {took:.1f} s, "
            f"{dispatcher.delivered / took:.0f}/s; retries: {dict(dispatcher.retries)}"
        )
        assert dispatcher.answers.keys() == {202}
        assert dispatcher.delivered > len(events)
        assert dispatcher.retries
        await crew.until_exact()
        shown = {model["deployment"]: model for model in await crew.models()}
    crew.check_logs()

    path = tmp_path / "events.ndjson"
    path.write_bytes(
        b"".join(format_line(RawEvent(headers, value, 0)) + b"\n" for headers, value in events)
    )
    replayed = subprocess.run(
        [sys.executable, "-m", "processor", "replay", path],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert shown == {model["deployment"]: model for model in json.loads(replayed.stdout)["models"]}
