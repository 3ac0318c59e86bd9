"""The notebook's experiment, with a model that is really trained and served."""

import asyncio
import re
import sys
from pathlib import Path

from tests.integration.conftest import Get, Start, models
from tests.support.faults.cluster import until

ROOT = Path(__file__).resolve().parents[2]


async def test_the_experiment_ends_with_46_right(start: Start, get: Get) -> None:
    worker = start()

    def serves() -> bool:
        return worker.alive and "events in at" in worker.text

    await until(serves, 60, "the service answers")
    ingress = re.search(r"events in at (\S+)", worker.text)
    assert ingress
    page = f"http://127.0.0.1:{worker.port}/"
    command = ["-m", "examples.iris", "--events", ingress[1], "--page", page]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, output.decode()
    assert "46 right of 63 judged of 100 predicted\n" in output.decode()

    (model,) = await models(get, worker)
    assert model["model"] == "irisclassifier-default"
    assert (model["predictions"], model["judged"], model["correct"]) == (100, 63, 46)
    assert model["disagreements"] == 0
    assert sum(cell["count"] for cell in model["confusion"]) == 63
    assert {cell["actual"] for cell in model["confusion"]} == {"t:0", "t:1", "t:2"}
    assert await worker.terminate() == 0
