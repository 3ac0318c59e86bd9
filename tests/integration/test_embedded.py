"""The embedded mode: no server, nothing lost at a restart."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.faults.crew import Worker, until
from tests.integration.conftest import DATA, Get, Start, assert_equal, expected, models


def _ingress(worker: Worker) -> str:
    match = re.search(r"events in: (\S+)", worker.text)
    assert match, worker.text
    return match[1]


async def _judged(get: Get, worker: Worker, count: int) -> None:
    async def reached() -> bool:
        found = await models(get, worker)
        return sum(int(model["judged"]) for model in found) == count

    await until(reached, 60, f"{count} judged")


async def test_events_survive_a_kill_and_a_restart(start: Start, get: Get) -> None:
    worker = start()
    await until(lambda: "events in: " in worker.text, 30, "started")
    sent = subprocess.run(
        [sys.executable, "-m", "processor", "send", DATA / "events.ndjson", "--to", _ingress(worker)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr
    assert "263 of 263 accepted" in sent.stdout
    await _judged(get, worker, 63)
    worker.kill()
    again = start()
    await _judged(get, again, 63)
    (found,) = await models(get, again)
    assert_equal(found, expected())
    _, metrics = await get(again, "/metrics")
    assert "processor_bootstrap_documents_total 263.0" in metrics
    assert "processor_bootstrap_complete 1.0" in metrics
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
        await until(lambda: "predictions" in (tmp_path / "log").read_text(), 30, "numbers")
        demo.send_signal(signal.SIGINT)
        await until(lambda: demo.poll() is not None, 15, "the end of the demo")
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
