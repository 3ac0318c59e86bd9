"""The embedded mode: no server, nothing lost at a restart."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.support.faults.cluster import Worker, until
from tests.support.workers import DATA, Get, Start, assert_equal, expected, models


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
