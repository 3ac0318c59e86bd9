"""A real Prometheus scrapes two workers; alerts fire as a model gets worse, as events can't be read and
as none come, and one resolves."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from processor.domain.timestamps import format_time
from tests.support.alerts.prometheus import Prometheus, running_prometheus
from tests.support.faults.cluster import Worker, until
from tests.support.manifests import DEPLOY
from tests.support.servers import Broker
from tests.support.workers import Get, Start, kafka_settings, models, produce

ALERT = "ModelAccuracyLow"

#: The seconds of an hour, a day and a week in ranges and offsets here; a week is longer than the test.
_SECONDS = {"h": 3, "d": 20, "w": 600}


def faster(rules: str) -> str:
    """The rules with no time to wait, and with shorter ranges and offsets of hours and more."""
    return re.sub(
        r"(\[|offset )(\d+)([hdw])\b",
        lambda found: f"{found[1]}{int(found[2]) * _SECONDS[found[3]]}s",
        re.sub(r"\bfor: \w+", "for: 1s", rules),
    )


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


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """Scrapes every second, with the rules of `deploy/` that fire sooner."""
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    with running_prometheus(tmp_path / "prometheus", faster(rules)) as server:
        yield server


async def test_an_alert_fires_and_resolves_and_an_update_leaves_no_gap(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    prometheus: Prometheus,
    tmp_path: Path,
) -> None:
    source = topic(partitions=8)

    def worker(name: str) -> Worker:
        return start(data=name, **kafka_settings(kafka, source, app_id))

    workers = [worker("a"), worker("b")]
    server = prometheus
    server.scrape(workers)
    await until(lambda: server.value("count(processor_build_info)") == [2], 60, "two scraped")

    async def send(lines: list[str]) -> None:
        path = tmp_path / "events.ndjson"
        path.write_text("".join(lines))
        await produce(kafka.bootstrap, source, path)

    accuracy = 'model:model_accuracy:ratio{window="24h", by="feedback"}'
    # 100 requests: all right; then 60 corrected to wrong; then all right again.
    await send([response(n) for n in range(100)] + [truth(n, True) for n in range(100)])
    await until(lambda: server.value(accuracy) == [1.0], 120, "accuracy of 1 in Prometheus")
    assert ALERT not in server.firing()
    await send([truth(n, False) for n in range(60)])
    await until(lambda: server.value(accuracy) == [0.4], 120, "accuracy of 0.4 in Prometheus")
    await until(lambda: ALERT in server.firing(), 120, f"{ALERT} fires")
    await send([truth(n, True) for n in range(60)])
    await until(lambda: ALERT not in server.firing(), 120, f"{ALERT} has resolved")
    assert server.value(accuracy) == [1.0]
    rules = [rule for group in server.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
    assert sum(rule["type"] == "alerting" for rule in rules) > 10
    assert {rule["health"] for rule in rules} == {"ok"}

    (model,) = [model for worker in workers for model in await models(get, worker)]
    assert (model["judged"], model["correct"]) == (100, 100)
    for each in workers:
        _, text = await get(each, "/metrics")
        check = subprocess.run(
            ["promtool", "check", "metrics"], input=text.encode(), capture_output=True
        )
        assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")

    # A rolling update: each is replaced by one with the same volume.
    begin = time.time()
    for number, name in enumerate(("a", "b")):
        assert await workers[number].terminate() == 0
        workers[number] = fresh = worker(name)
        server.scrape(workers)

        async def opened(fresh: Worker = fresh) -> bool:
            status, body = await get(fresh, "/ready")
            return status == 200 and bool(json.loads(body)["partitions"]["deltas"])

        await until(opened, 60, f"the new {name} holds partitions")
        await until(lambda: len(server.value("up == 1")) == 2, 60, "both scraped")
    samples = server.line('model:model_judged:max{window="all", by="request"}', begin)
    assert {value for _, value in samples} == {100}
    times = [at for at, _ in samples]
    assert max(b - a for a, b in pairwise(times)) == 1
    assert times[-1] - begin > 5
    assert ALERT not in server.firing()

    # Some events have no time that can be read, and then nothing comes for a day.
    assert "ProcessorDeadLetters" not in server.firing()
    bad = response(0).replace('"ce-time": "2', '"ce-time": "in 2')
    await send([bad] * 30 + [response(n) for n in range(200, 400)])
    for name in ("ProcessorDeadLetters", "ProcessorNoEvents"):

        def fires(name: str = name) -> bool:
            return name in server.firing()

        await until(fires, 90, f"{name} fires")
