"""The commands of the documentation, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from processor.cli.main import cli
from tests.docs.pages import PAGES, ROOT
from tests.support.faults.cluster import until
from tests.support.workers import Get, Start

#: What does not run here, and where it is tried instead.
ELSEWHERE = {
    "docker ": "no container engine: tests/deploy/test_image.py and test_manifests.py",
    "make ": "sets up an environment of its own; its recipes are what the other tests run",
    "processor run": "the service that the other commands talk to",
    "FAULT_SEED=": "tests/faults, at full size",
    "PROCESSOR_BROKER=": "tests/integration run workers on a real Kafka",
    ". .venv/bin/activate": "the tests run inside an environment",
    "pip install": "the tests run inside an environment",
    "python -m examples.iris": "tests/integration/test_example.py",
    "processor dead-letters show": "its example names a letter: tests/integration/test_dead_letters.py",
    "processor dead-letters retry": "the same",
    "processor savepoint": "needs a Kafka: tests/integration/test_savepoint.py",
    "PROCESSOR_APP_ID=": "the same",
    "promtool ": "tests/deploy/test_prometheus.py",
    "kubectl -n ": "needs a cluster",
    "helm install": "needs a cluster: tests/deploy/test_chart.py renders the chart",
    "sloth generate": "a binary that pip can't bring: tests/deploy/test_slo_examples.py reads its file",
    "amtool ": "needs an Alertmanager",
    'curl --silent "http://$': "needs a model on a cluster: tests/integration/test_example.py",
}


#: Pages whose examples name files that only a reader has: tests/replay and tests/report run the like.
ON_FILES_OF_THE_READER = (
    "events-file.md",
    "replay.md",
    "reports.md",
    "back-up.md",
    "evaluate-a-file.md",  # tests/docs/test_file_pages.py runs it
)


def commands() -> list[str]:
    """Every command of a block of shell, without comments, continued lines as one."""
    found = []
    for page in PAGES:
        if page.name in ON_FILES_OF_THE_READER:
            continue
        content = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh\n(.*?)^```", content, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"\s+# .*", "", line).strip()
                if command:
                    found.append(command)
    return list(dict.fromkeys(found))


def programs() -> list[str]:
    """Every block of Python that talks to the service."""
    found: list[str] = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        found += re.findall(r"^```python\n(.*?)^```", content, re.MULTILINE | re.DOTALL)
    return [each for each in found if ":8080" in each]


def here() -> list[str]:
    return [each for each in commands() if not each.startswith(tuple(ELSEWHERE))]


def test_what_is_not_run_is_still_there() -> None:
    for prefix in ELSEWHERE:
        assert any(each.startswith(prefix) for each in commands()), prefix
    assert len(here()) > 6


@pytest.mark.long
async def test_commands(start: Start, get: Get, tmp_path: Path) -> None:
    worker = start()

    async def ready() -> bool:
        return (await get(worker, "/ready"))[0] == 200

    await until(ready, 60, "the service is ready")
    ingress = re.search(r"events in: http://\S+?:(\d+)", worker.text)
    assert ingress
    scripts = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    env |= {"PROCESSOR_INGRESS_PORT": ingress[1], "PROCESSOR_METRICS_PORT": str(worker.port)}
    env["PROCESSOR_DATA"] = str(tmp_path / "data")
    for command in here():
        line = command.replace(":9102", f":{worker.port}").replace(":8080", f":{ingress[1]}")
        line = line.replace("curl ", "curl --fail ")
        if line.startswith("kubectl") and not _has("kubectl"):
            continue  # the manifests' tests apply kustomize's rules themselves
        run = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
    for program in programs():
        run = subprocess.run(
            [sys.executable, "-c", program.replace(":8080", f":{ingress[1]}")],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, f"{program}\n{run.stdout}{run.stderr}"


def _has(program: str) -> bool:
    return (
        subprocess.run(["sh", "-c", f"command -v {program}"], capture_output=True).returncode == 0
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_ours_exist(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?:^|`)processor ([a-z][a-z-]*)", content, re.MULTILINE):
        assert name in cli.list_commands(click.Context(cli)), name
