"""A real Prometheus scrapes two workers; an alert fires as a model gets worse, and resolves."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from processor.domain.times import format_time
from tests.deploy.manifests import DEPLOY
from tests.faults.crew import until
from tests.integration.conftest import Get, Start, models, produce
from tests.servers import Broker
from tests.servers.process import ServerProcess, free_port

ALERT = "ModelAccuracyLow"


def event(kind: str, number: int, data: Any) -> str:
    """A line of an events file, of now."""
    headers = {
        "ce-type": f"io.seldon.serving.{kind}",
        "ce-requestid": f"request-{number}",
        "ce-time": format_time(time.time_ns()),
        "ce-inferenceservicename": "sklearn",
        "ce-namespace": "seldon",
        "ce-endpoint": "default",
        "ce-modelid": "classifier",
        "content-type": "application/json",
    }
    return json.dumps({"headers": headers, "data": data}) + "\n"


def response(number: int) -> str:
    return event("inference.response", number, {"data": {"names": ["a", "b"], "ndarray": [[1, 0]]}})


def truth(number: int, right: bool) -> str:
    scores = [[1, 0]] if right else [[0, 1]]
    return event("feedback", number, {"truth": {"data": {"names": ["a", "b"], "ndarray": scores}}})


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, **query: str) -> Any:
        with urlopen(f"{self.address}{path}?{urlencode(query)}", timeout=10) as answer:
            body = json.loads(answer.read())
        assert body["status"] == "success"
        return body["data"]

    def value(self, expr: str) -> list[float]:
        return [float(each["value"][1]) for each in self.ask("/api/v1/query", query=expr)["result"]]

    def firing(self) -> set[str]:
        alerts = self.ask("/api/v1/alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[list[int]], Prometheus]]:
    """`prometheus(ports)` scrapes these every second, with the rules of `deploy/`, sooner firing."""
    started: list[ServerProcess] = []

    def start(ports: list[int]) -> Prometheus:
        program = shutil.which("prometheus")
        if program is None:
            pytest.fail("prometheus is not on PATH: install the package 'prometheus'")
        folder = tmp_path / "prometheus"
        folder.mkdir()
        rules = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
        (folder / "rules.yml").write_text(re.sub(r"\bfor: \w+", "for: 1s", rules))
        targets = [f"127.0.0.1:{port}" for port in ports]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "processor", "static_configs": [{"targets": targets}]}],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(config))
        port = free_port()
        process = ServerProcess(
            [
                program,
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder,
            folder / "log",
        )
        started.append(process)
        server = Prometheus(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            try:
                urlopen(f"{server.address}/-/ready", timeout=5).close()
            except OSError:
                return False
            return True

        process.wait_ready(answers, 30)
        return server

    yield start
    for process in started:
        process.stop()


async def test_an_alert_fires_and_resolves(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    prometheus: Callable[[list[int]], Prometheus],
    tmp_path: Path,
) -> None:
    source = topic(partitions=8)
    workers = [
        start(
            broker=f"kafka://{kafka.bootstrap}",
            topics=source,
            app_id=app_id,
            archive="none",
            data=name,
        )
        for name in ("a", "b")
    ]
    server = prometheus([worker.port for worker in workers])
    await until(lambda: server.value("count(processor_build_info)") == [2], 60, "two scraped")

    async def send(lines: list[str]) -> None:
        path = tmp_path / "events.ndjson"
        path.write_text("".join(lines))
        await produce(kafka.bootstrap, source, path)

    accuracy = 'model:model_accuracy:ratio{window="24h", by="feedback"}'
    # 100 requests: all right; then 60 corrected to wrong; then all right again.
    await send([response(n) for n in range(100)] + [truth(n, True) for n in range(100)])
    await until(lambda: server.value(accuracy) == [1.0], 60, "accuracy of 1 in Prometheus")
    assert ALERT not in server.firing()
    await send([truth(n, False) for n in range(60)])
    await until(lambda: server.value(accuracy) == [0.4], 30, "accuracy of 0.4 in Prometheus")
    await until(lambda: ALERT in server.firing(), 30, f"{ALERT} fires")
    await send([truth(n, True) for n in range(60)])
    await until(lambda: ALERT not in server.firing(), 30, f"{ALERT} has resolved")
    assert server.value(accuracy) == [1.0]
    rules = [rule for group in server.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert sum(rule["type"] == "alerting" for rule in rules) > 10
    assert {rule["health"] for rule in rules} == {"ok"}

    (model,) = [model for worker in workers for model in await models(get, worker)]
    assert (model["judged"], model["correct"]) == (100, 100)
    for worker in workers:
        _, text = await get(worker, "/metrics")
        check = subprocess.run(
            ["promtool", "check", "metrics"], input=text.encode(), capture_output=True
        )
        assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")
