"""A service with custom statistics: live equals replay, also after a restart and a correction."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.kinds_of_models import MODELS, write
from processor import evaluate
from processor.models_file import read_models
from tests.support.faults.cluster import Worker, until
from tests.support.own_statistics import PLACE
from tests.support.reports.command import output_of
from tests.support.workers import Get, Start, assert_equal, models

pytestmark = pytest.mark.integration
NAMES = ("Everything", "Picky")


def send(path: Path, address: str) -> None:
    output_of("send", path, "--to", address)


def corrections(path: Path) -> str:
    """Each third feedback again and later, with the truth of the one before of its model."""
    found, last = [], dict[str, Any]()
    for number, line in enumerate(path.read_text().splitlines()):
        event = json.loads(line)
        if "truth" not in event["data"]:
            continue
        deployment = event["headers"]["ce-inferenceservicename"]
        truth = last.get(deployment, event["data"])
        last[deployment] = event["data"]
        if number % 3:
            continue
        event["headers"]["ce-time"] = event["headers"]["ce-time"][:19] + ".999999999Z"
        found.append(json.dumps({**event, "data": truth}))
    return "\n".join(found) + "\n"


async def test_live_is_replay(
    start: Start, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, corrected = tmp_path / "events.ndjson", tmp_path / "corrected.ndjson"
    write(events, 150)
    corrected.write_text(corrections(events))
    rules = yaml.safe_load(MODELS)
    for entry in rules["models"]:
        entry["statistics"] = [PLACE + name for name in NAMES]
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump(rules))

    monkeypatch.setenv("PROCESSOR_CUSTOM_STATISTICS", "on")
    both = tmp_path / "both.ndjson"
    both.write_text(events.read_text() + corrected.read_text())
    wanted = {
        by: evaluate(both, models=file, by=by).to_dict()["models"] for by in ("request", "feedback")
    }
    read_models({})
    assert all(model["custom"]["everything"]["items"] for model in wanted["request"])

    async def equal(worker: Worker) -> bool:
        found = await models(get, worker)
        return [each["custom"] for each in found] == [each["custom"] for each in wanted["request"]]

    worker = start(models=str(file), custom_statistics="on")
    address = await worker.ingress()
    send(events, address)
    send(corrected, address)
    await until(lambda: equal(worker), 60, "the numbers of the replay")
    for by, replayed in wanted.items():
        assert_equal(await models(get, worker, by), replayed)
    _, metrics = await get(worker, "/metrics")
    assert "# HELP model_custom_everything Everything that an item says" in metrics
    items = wanted["request"][0]["custom"]["everything"]["items"]
    assert f'window="all",by="request",score="items"}} {items!r}\n' in metrics
    worker.kill()
    again = start(models=str(file), custom_statistics="on")
    await until(lambda: equal(again), 60, "the same numbers after a restart")
    assert await again.terminate() == 0


async def test_a_service_that_may_not_run_it_does_not_start(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f'models:\n  - match: "*/*"\n    statistics: ["{PLACE}Everything"]\n')
    worker = start(models=str(file))
    assert await worker.wait(60) == 2
    assert "runs only with PROCESSOR_CUSTOM_STATISTICS=on: set it" in worker.text
