"""A real Prometheus with alert rules, and the questions that tests ask it."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.support.faults.cluster import Worker, until
from tests.support.servers.process import ServerProcess, free_port

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: A range shorter than some scrapes holds no two samples; ``for`` is at least one evaluation.
LEAST_RANGE, LEAST_FOR = 5.0, 1.0


def seconds_of(duration: str) -> float:
    """The seconds of a duration of Prometheus with one unit."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def shortened(rules: str, factor: float) -> str:
    """The rules with every range, offset and ``for`` divided by one factor; none gets so short that it
    could see no two samples. What compares with a number of seconds stays as it is."""

    def short(found: re.Match[str]) -> str:
        least = LEAST_FOR if found[1].startswith("for") else LEAST_RANGE
        return f"{found[1]}{round(1000 * max(least, seconds_of(found[2]) / factor))}ms"

    return re.sub(r"(\[|\boffset |\bfor: )(\d+[smhdw])\b", short, rules)


class Prometheus:
    """A running server; `scrape` says which workers it looks at."""

    def __init__(self, address: str, targets: Path) -> None:
        self.address = address
        self._targets = targets

    def scrape(self, workers: list[Worker]) -> None:
        """From now on these."""
        self.scrape_jobs({"processor": workers})

    def scrape_jobs(self, jobs: Mapping[str, list[Worker]]) -> None:
        """From now on these, each under the name of a job of its own."""
        groups = [
            {
                "targets": [f"127.0.0.1:{worker.port}" for worker in workers],
                "labels": {"job": job},
            }
            for job, workers in jobs.items()
        ]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(self._targets)

    def ask(self, path: str, **query: str) -> Any:
        with urlopen(f"{self.address}{path}?{urlencode(query)}", timeout=60) as answer:
            body = json.loads(answer.read())
        assert body["status"] == "success"
        return body["data"]

    def value(self, expr: str) -> list[float]:
        return [float(each["value"][1]) for each in self.ask("/api/v1/query", query=expr)["result"]]

    def line(self, expr: str, since: float) -> list[tuple[float, float]]:
        """Times and values of the only series, second by second until now."""
        query = {"query": expr, "start": str(since), "end": str(time.time()), "step": "1"}
        (series,) = self.ask("/api/v1/query_range", **query)["result"]
        return [(float(at), float(value)) for at, value in series["values"]]

    def firing(self) -> set[str]:
        return {alert["alertname"] for alert in self.alerts()}

    def alerts(self) -> list[dict[str, str]]:
        """The labels of each alert that fires."""
        alerts = self.ask("/api/v1/alerts")["alerts"]
        return [each["labels"] for each in alerts if each["state"] == "firing"]

    async def until_scraped(self, workers: int) -> None:
        """So many workers answer, and no alert says any more that they are absent."""

        def seen() -> bool:
            return self.value("up") == [1] * workers and not self.firing()

        try:
            await until(seen, 60, "a scrape of each worker")
        except TimeoutError:
            errors = [one["lastError"] for one in self.ask("/api/v1/targets")["activeTargets"]]
            raise AssertionError(f"{self.alerts()}, targets: {errors}") from None

    def unwell(self) -> list[str]:
        """The rules that could not be evaluated, with the reason."""
        groups = self.ask("/api/v1/rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{one['name']}: {one['lastError']}" for one in rules if one["health"] == "err"]


@contextmanager
def running_prometheus(folder: Path, rules: str) -> Iterator[Prometheus]:
    """Scrapes and evaluates every second; ended with the block."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("prometheus is not on PATH: install the package 'prometheus'")
    folder.mkdir()
    (folder / "rules.yml").write_text(rules)
    targets = folder / "targets.json"
    discovery = [{"files": [targets.name], "refresh_interval": "1s"}]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "processor", "file_sd_configs": discovery}],
    }
    # JSON is YAML.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    # Debian's default is one folder for all that run on a machine.
    options = (
        *("--config.file=prometheus.yml", "--storage.tsdb.path=data"),
        f"--web.listen-address=127.0.0.1:{port}",
    )
    process = ServerProcess([program, *options], folder, folder / "log")
    server = Prometheus(f"http://127.0.0.1:{port}", targets)

    def answers() -> bool:
        try:
            urlopen(f"{server.address}/-/ready", timeout=5).close()
        except OSError:
            return False
        return True

    try:
        process.wait_ready(answers, 60)
        yield server
    finally:
        process.stop()
