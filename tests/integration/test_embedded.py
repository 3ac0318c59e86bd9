"""The embedded mode: no server, nothing lost at a restart."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

from bench.support.load import Event, Load
from tests.support.faults.cluster import Worker, until
from tests.support.workers import DATA, Get, Start, assert_equal, expected, metric, models


async def _address(worker: Worker) -> str:
    await until(lambda: "events in: " in worker.text, 60, "started")
    return _ingress(worker)


def _ingress(worker: Worker) -> str:
    match = re.search(r"events in: (\S+)", worker.text)
    assert match, worker.text
    return match[1]


async def _judged(get: Get, worker: Worker, count: int) -> None:
    async def reached() -> bool:
        found = await models(get, worker)
        return sum(int(model["judged"]) for model in found) == count

    await until(reached, 60, f"{count} judged")


def structured(event: Event) -> str:
    """The event in structured mode."""
    attributes = {
        name[3:]: value.decode() for name, value in event.headers if name.startswith("ce_")
    }
    return json.dumps(attributes)[:-1] + f', "data": {event.value.decode()}}}'


def batched(events: list[str], size: int) -> list[list[str]]:
    """So many at a time."""
    return [events[start : start + size] for start in range(0, len(events), size)]


def _outcomes(path: Path) -> list[tuple[int, int]]:
    """How many items were right, and wrong."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT correct, COUNT(*) FROM outcomes GROUP BY correct ORDER BY correct"
        return connection.execute(query).fetchall()


async def test_events_and_outcomes_survive_a_kill_and_a_restart(
    start: Start, get: Get, tmp_path: Path
) -> None:
    worker = start(outcomes="on")
    address = await _address(worker)
    sent = subprocess.run(
        [sys.executable, "-m", "processor", "send", DATA / "events.ndjson", "--to", address],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    assert "263 of 263 accepted" in sent.stdout
    await _judged(get, worker, 63)

    async def told(worker: Worker, written: int) -> bool:
        _, metrics = await get(worker, "/metrics")
        return (
            f"processor_outcomes_written_total {written}.0\n" in metrics
            and "processor_outcomes_waiting 0.0\n" in metrics
        )

    await until(lambda: told(worker, 63), 60, "the outcomes")
    assert "has no effect" not in worker.text
    outcomes = _outcomes(tmp_path / "data" / "events.sqlite")
    assert outcomes == [(0, 17), (1, 46)]
    worker.kill()
    again = start(outcomes="on")
    await _judged(get, again, 63)
    (found,) = await models(get, again)
    assert_equal(found, expected())
    _, metrics = await get(again, "/metrics")
    assert "processor_bootstrap_documents_total 263.0" in metrics
    assert "processor_bootstrap_complete 1.0" in metrics
    # They are told once more, and are shown already.
    await until(lambda: told(again, 0), 60, "no outcome to tell")
    assert _outcomes(tmp_path / "data" / "events.sqlite") == outcomes
    assert await again.terminate() == 0


async def test_a_broker_that_is_full_refuses_new_events_and_changes_no_count(
    start: Start, get: Get
) -> None:
    """503 with the reason; what was accepted is counted, also after a restart with more room."""
    load = Load.of_events(20_000, models=3)
    batches = batched([structured(event) for event in load.events()], 200)
    worker = start(max_broker_memory="5MiB")
    url = await _address(worker)
    accepted = 0
    said: dict[str, Any] = {}
    posts: Iterator[list[str]] = cycle(batches)
    async with aiohttp.ClientSession() as session:

        async def post(batch: list[str]) -> tuple[int, dict[str, Any]]:
            headers = {"Content-Type": "application/cloudevents-batch+json"}
            body = f"[{','.join(batch)}]"
            async with session.post(url, data=body, headers=headers) as answer:
                if answer.status == 503:
                    assert int(answer.headers["Retry-After"]) >= 1
                return answer.status, await answer.json()

        async def refused() -> bool:
            """Whether this post is refused. The memory is measured every second, so a fast sender
            can be through before; repeated events are read like all others."""
            nonlocal accepted, said
            status, said = await post(next(posts))
            accepted += said.get("accepted", 0)
            return status == 503

        await until(lambda: _is_ready(get, worker), 60, "ready")
        await until(refused, 60, "refused")
        assert said["reason"] == "full"
        assert "PROCESSOR_MAX_BROKER_MEMORY" in said["detail"]
        assert accepted > 0
        await metric(get, worker, 'processor_events_total{event_type="unreadable"}', 0.0)

        async def all_read(worker: Worker) -> bool:
            _, metrics = await get(worker, "/metrics")
            kinds = re.findall(r"processor_events_total\{.*\} (\S+)", metrics)
            return sum(map(float, kinds)) == accepted

        await until(lambda: all_read(worker), 60, "all that was accepted is read")

        async def is_said() -> bool:
            # What is idle may be given back, so that there is room again for a moment.
            await refused()
            status, ready = await get(worker, "/ready")
            assert status == 200
            return "PROCESSOR_MAX_BROKER_MEMORY" in ready

        await until(is_said, 60, "/ready says that new events are refused")
        _, metrics = await get(worker, "/metrics")
        assert "processor_embedded_broker_limit_bytes 5.24288e+06" in metrics
        await until(lambda: all_read(worker), 60, "all that was accepted is read")
        before = await _settled(get, worker)
        assert await worker.terminate() == 0
        again = start(max_broker_memory="1GiB")
        url = await _address(again)
        await until(lambda: all_read(again), 60, "the archive is read")
        assert await _settled(get, again) == before
        assert (await post(batches[0]))[0] == 202
    assert await again.terminate() == 0


async def _is_ready(get: Get, worker: Worker) -> bool:
    return (await get(worker, "/ready"))[0] == 200


async def _settled(get: Get, worker: Worker) -> list[dict[str, Any]]:
    """The models once they stand still."""
    found: list[dict[str, Any]] = []
    still = 0

    async def stands() -> bool:
        nonlocal found, still
        before, found = found, await models(get, worker)
        still = still + 1 if found and found == before else 0
        return still >= 20

    await until(stands, 60, "settled")
    return found


def test_the_demo_ends_with_the_notebooks_numbers() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "processor", "demo", "--once"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "100 predictions, 63 judged, 46 correct, accuracy 0.7302" in ran.stdout


async def test_ctrl_c_ends_a_demo_that_is_still_sending(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "processor", "demo"],
            env={**os.environ, "PROCESSOR_METRICS_PORT": "0", "PROCESSOR_INGRESS_PORT": "0"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await until(lambda: "predictions" in (tmp_path / "log").read_text(), 60, "numbers")
        demo.send_signal(signal.SIGINT)
        await until(lambda: demo.poll() is not None, 60, "the end of the demo")
        assert demo.returncode == 0, (tmp_path / "log").read_text()
    finally:
        demo.kill()
        demo.wait()


def test_a_replay_of_the_archive_equals_the_live_run(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "processor", "replay", f"sqlite:{tmp_path / 'none.sqlite'}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "none.sqlite" in ran.stderr
    assert "Traceback" not in ran.stderr
