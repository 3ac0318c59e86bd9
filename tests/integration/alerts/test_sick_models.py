"""Models that were well for a month get sick, and every alert on models fires in a real Prometheus."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.support.alerts.causes import MODELS, RULES
from tests.support.alerts.prometheus import running_prometheus, shortened
from tests.support.alerts.rig import FACTOR, AlertRig
from tests.support.alerts.sick_models import MODELS_FILE, SICK_MODELS, events_of
from tests.support.faults.cluster import until
from tests.support.workers import Start

#: What is wrong with each of the models.
_SAID = {
    "wrong": [
        *("ModelAccuracyLow", "ModelAccuracyFell", "ModelRecallFell"),
        *("ModelErrorBudgetBurnsFast", "ModelErrorBudgetBurns"),
    ],
    "lost": ["ModelCoverageFell", "ModelCoverageLow", "ModelLabelPaceChanged"],
    "stopped": ["ModelFeedbackStopped"],
    "drifted": ["ModelPredictionsDrifted"],
    "vanished": ["ModelClassNotPredicted", "ModelClassNotSeen"],
    "sure": ["ModelCalibrationOff"],
    "numbers": ["ModelErrorAboveLimit", "ModelAbsoluteErrorHigh"],
}


async def send(lines: list[str], path: Path, address: str) -> None:
    """Send the lines as a user does, with `processor send`."""
    path.write_text("".join(lines))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "processor", "send", str(path), "--to", address),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert f"{len(lines)} of {len(lines)} accepted" in said.decode()


@pytest.mark.full("some minutes, so that a week passes in Prometheus")
@pytest.mark.timeout(1200)
async def test_every_alert_on_models_fires(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(MODELS_FILE)
    worker = start(models=str(file))
    address = await worker.ingress()
    now = time.time_ns()
    with running_prometheus(tmp_path / "prometheus", shortened(RULES, FACTOR)) as prometheus:
        rig = AlertRig(prometheus, MODELS)
        await send(events_of(SICK_MODELS, sick=False, now=now), tmp_path / "well", address)
        prometheus.scrape([worker])
        await prometheus.until_scraped(1)
        begun = time.monotonic()
        # Coverage is compared with that of 6 to 8 days ago.
        passed = 8 * 86_400 / FACTOR + 10

        def well() -> bool:
            # Nothing comes meanwhile, of which ProcessorNoEvents tells.
            assert prometheus.firing() <= {"ProcessorNoEvents"}, prometheus.alerts()
            return time.monotonic() - begun > passed

        await until(well, passed + 120, "a week of health")
        for name, alerts in _SAID.items():
            rig.begins(*alerts, deployment=name)
        await send(events_of(SICK_MODELS, sick=True, now=now), tmp_path / "sick", address)
        try:
            await rig.all_fired()
        finally:
            rig.show()
        rig.check_whole()
