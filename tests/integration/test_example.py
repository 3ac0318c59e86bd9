"""A model that is really trained, served and judged by the true species of flowers."""

import asyncio
import os
import re
import sys
from pathlib import Path

from yarl import URL

from examples.iris.__main__ import FEEDBACKS, REQUESTS
from tests.support.faults.cluster import until
from tests.support.workers import Get, Start, models

ROOT = Path(__file__).resolve().parents[2]


async def test_the_page_shows_the_real_quality_of_the_model(start: Start, get: Get) -> None:
    worker = start(ingress_token="secret")

    def serves() -> bool:
        return worker.alive and "ready: http" in worker.text

    await until(serves, 60, "the service answers")
    ingress = re.search(r"events in: (\S+)", worker.text)
    assert ingress
    # Each address is said once, and nothing of what goes on inside.
    named = [line for line in worker.text.splitlines() if "http://" in line]
    assert named == [f"events in: {ingress[1]}", f"ready: http://127.0.0.1:{worker.port}/"]
    assert "Starting" not in worker.text
    assert "from offset" not in worker.text
    # An address without its slash is one too.
    page = f"http://127.0.0.1:{worker.port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.iris", "--page", page,
        cwd=ROOT,
        env={
            **os.environ,
            "PROCESSOR_INGRESS_PORT": str(URL(ingress[1]).port),
            "PROCESSOR_INGRESS_TOKEN": "secret",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, output.decode()
    said = re.search(r"^(\d+) right of 63 judged of 100 predicted$", output.decode(), re.MULTILINE)
    assert said, output.decode()

    (model,) = await models(get, worker)
    assert model["model"] == "irisclassifier-default"
    assert (model["predictions"], model["judged"]) == (REQUESTS, FEEDBACKS)
    assert model["correct"] == int(said[1])
    assert model["disagreements"] == 0
    # What such a model reaches on flowers that it has not seen, and not a script.
    assert 0.85 < model["accuracy"] < 1
    assert model["reward_mean"] == model["accuracy"]
    confusion = {(cell["actual"], cell["predicted"]): cell["count"] for cell in model["confusion"]}
    assert sum(confusion.values()) == FEEDBACKS
    assert {actual for actual, _ in confusion} == {"setosa", "versicolor", "virginica"}
    # Setosa can be told from the others by a line, these not from each other.
    wrong = {cell for cell in confusion if cell[0] != cell[1]}
    assert wrong
    assert all("setosa" not in cell for cell in wrong)
    assert await worker.terminate() == 0
