"""What befalls one embedded worker, and the alert for each of it in a real Prometheus."""

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from processor.domain.timestamps import HOUR
from tests.support.alerts.causes import RULES, WORKER
from tests.support.alerts.prometheus import running_prometheus, shortened
from tests.support.alerts.rig import FACTOR, AlertRig
from tests.support.alerts.sick_models import event
from tests.support.faults.cluster import Worker, until
from tests.support.faults.shared_clock import Clock, make_clock, set_clock
from tests.support.workers import Start

_ANSWER = {"data": {"ndarray": ["a"]}}
_TRUTH = {"truth": {"data": {"ndarray": ["a"]}}}


def _healthy(deployment: str, count: int) -> list[str]:
    """Predictions of now and their feedback, all right."""
    now = time.time_ns()
    kinds = (("inference.response", _ANSWER), ("feedback", _TRUTH))
    return [
        event(kind, deployment, f"{deployment}-{number}", now, data)
        for kind, data in kinds
        for number in range(count)
    ]


async def _post(lines: list[str], address: str, wanted: int = 202) -> None:
    """Each event as a request, as Knative sends it."""
    async with aiohttp.ClientSession() as session:
        for line in lines:
            one = _structured(line) if line.startswith("{") else line
            headers = {"content-type": "application/cloudevents+json"}
            async with session.post(address, data=one, headers=headers) as answer:
                assert answer.status == wanted, await answer.text()


def _structured(line: str) -> str:
    content = json.loads(line)
    attributes = {
        name.removeprefix("ce-"): value
        for name, value in content["headers"].items()
        if name.startswith("ce-")
    }
    attributes |= {"specversion": "1.0", "source": "test", "id": attributes["requestid"]}
    return json.dumps({**attributes, "data": content["data"]})


@pytest.mark.full("some minutes")
@pytest.mark.timeout(900)
async def test_every_alert_on_an_embedded_worker_fires(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: []\n")
    settings = {"windows": "1h,7d,all", "max_models": "1", "models": str(file)}
    with running_prometheus(tmp_path / "prometheus", shortened(RULES, FACTOR)) as prometheus:
        rig = AlertRig(prometheus, WORKER)
        worker = start(**settings)
        address = await worker.ingress()
        clock = make_clock(tmp_path / "clock", time.time_ns())
        fault = f"shared_clock:{tmp_path / 'clock'}"
        other = start(fault=fault, data="other", horizon="1h")
        await other.ingress()
        prometheus.scrape_jobs({"worker": [worker], "late": [other]})
        await prometheus.until_scraped(2)
        try:
            await _befalls(rig, worker, address, file, tmp_path)
            await _waits_in_vain(rig, other, clock)
            await asyncio.to_thread(other.kill)
            prometheus.scrape_jobs({"worker": [worker]})
            await _ends(rig, worker)
        finally:
            rig.show()
        rig.check_whole()


async def _befalls(rig: AlertRig, worker: Worker, address: str, file: Path, folder: Path) -> None:
    """Everything that a living worker can have at once."""
    now = time.time_ns()
    rig.begins("ProcessorWindowsMissing")
    await _post(_healthy("first", 100), address)
    rig.begins("ProcessorModelsHidden")
    await _post(_healthy("second", 10), address)
    rig.begins("ProcessorDeadLetters", reason="bad_shape")
    bad = {"completion": "Once upon a time"}
    await _post(
        [event("inference.response", "first", f"bad-{n}", now, bad) for n in range(30)],
        *(address, 400),
    )
    rig.begins("ProcessorNotScorable")
    empty = {"data": {"ndarray": [None]}}
    await _post(
        [event("inference.response", "first", f"none-{n}", now, empty) for n in range(40)], address
    )
    rig.begins("ProcessorFeedbackUnmatched")
    await _post(
        [event("feedback", "first", f"unknown-{n}", now, _TRUTH) for n in range(60)], address
    )
    rig.begins("ProcessorIngressRefuses")
    await _post(["no event"] * 30, address, 400)
    rig.begins("ProcessorModelsFileRefused")
    file.write_text("models: 1\n")
    await rig.all_fired()
    file.write_text("models: []\n")
    # The state of the last events is to be saved.
    rig.begins("ProcessorDiskFull", "ProcessorSnapshotsFail")
    (folder / "data").rename(folder / "gone")
    await rig.all_fired()
    (folder / "gone").rename(folder / "data")


async def _waits_in_vain(rig: AlertRig, worker: Worker, clock: Clock) -> None:
    """Feedback comes, and hours pass without its prediction."""
    now, address = time.time_ns(), await worker.ingress()
    await _post([event("feedback", "late", f"f-{n}", now, _TRUTH) for n in range(60)], address)
    rig.begins("ProcessorLateFeedback", job="late")
    now += 3 * HOUR
    set_clock(clock, now)
    await _post([event("inference.response", "late", "later", now, _ANSWER)], address)
    await rig.all_fired()


async def _ends(rig: AlertRig, worker: Worker) -> None:
    """No event comes, and then the worker is gone."""
    await _post(_healthy("first", 120), await worker.ingress())
    # None came while the disk was away.
    await until(lambda: not rig.fires("ProcessorNoEvents"), 60, "events are seen")
    rig.begins("ProcessorNoEvents", job="worker")
    await rig.all_fired()
    rig.begins("ProcessorWorkerDown", "ProcessorAbsent")
    await asyncio.to_thread(worker.kill)
    await rig.all_fired()
