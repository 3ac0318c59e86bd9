"""Rules and alerts: valid, tried on series, and only on metrics that there are."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from processor.domain.tally.windows import RECENT
from processor.publish.collector import OwnCollector
from processor.publish.exposition import Exposition
from processor.publish.families import COUNTERS, FAMILIES
from processor.publish.interfaces import Gauges
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.fakes import FakeHealth
from tests.support.manifests import DEPLOY, PROCESSOR, ROOT, find, read_one

FOLDER = DEPLOY / "prometheus"
(RUNBOOKS,) = re.findall(
    r'^RUNBOOKS = "(.+)"$', (FOLDER / "operator_rules.py").read_text(encoding="utf-8"), re.MULTILINE
)
RULES: list[dict[str, Any]] = [
    rule for group in read_one(FOLDER / "rules.yml")["groups"] for rule in group["rules"]
]
#: What is recorded of the families of recent windows.
_OF_RECENT = r"\bmodel:model_(?:recent_\w+|class_items|class_before|\w+_before)"
ALERTS = [rule for rule in RULES if "alert" in rule]
TESTS = sorted(FOLDER.glob("*rules_test.yml"))
TRIED = {
    case["alertname"]
    for path in TESTS
    for test in read_one(path)["tests"]
    for case in test.get("alert_rule_test", ())
    if case["exp_alerts"]
}


@pytest.mark.parametrize(
    "command",
    [
        "check rules rules.yml",
        "check config prometheus.yml",
        *(f"test rules {path.name}" for path in TESTS),
    ],
)
def test_promtool(command: str, promtool: str) -> None:
    run = subprocess.run(
        [promtool, *command.split()], cwd=FOLDER, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_rules_read_metrics_that_there_are() -> None:
    gauges = Gauges(
        source_topics_missing=0,
        broker_up=1,
        disk_full=0,
        archive_up=1,
        models_file_refused=0,
        watermark_timestamp_seconds=1.0,
        checkpoint_age_seconds=0.0,
        archive_bytes=1,
        native_templates=1,
        native_plans=1,
    )
    health = FakeHealth(held=gauges)
    telemetry = Telemetry(not_scorable=Counter(shape=1))
    own = OwnCollector(telemetry, health).collect()
    known = {family.name for family in FAMILIES}
    known |= {f"{family.name}_total" for family in COUNTERS}
    known |= {sample.name for metric in own for sample in metric.samples}
    known |= set(re.findall(r"^(\w+)", Exposition(64).text(), re.MULTILINE))
    for rule in RULES:
        # A name that a rule records has colons; what it is made of stands in that rule.
        names = set(re.findall(r"(?<![:\w])(?:model|processor)_\w+(?![:\w])", rule["expr"]))
        assert names <= known, rule
        recorded = set(re.findall(r"\b(?:model|processor):[\w:]+", rule["expr"]))
        assert recorded <= {each.get("record") for each in RULES}, rule


def test_rules_name_windows_and_bases_that_are_published() -> None:
    settings = Settings()
    windows = {window.name for window in settings.windows}
    recent = {window.name for window in RECENT}
    for rule in RULES:
        own = re.findall(rf"{_OF_RECENT}:\w+\{{([^}}]*)\}}", rule["expr"])
        assert set(re.findall(r'window="(\w+)"', " ".join(own))) <= recent, rule
        rest = re.sub(rf"{_OF_RECENT}:\w+\{{[^}}]*\}}", "", rule["expr"])
        assert set(re.findall(r'window="(\w+)"', rest)) <= windows, rule
        assert set(re.findall(r'by="(\w+)"', rule["expr"])) <= set(settings.metrics_by), rule


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_wrong_and_is_tried(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["alert"] in TRIED
    address = alert["annotations"]["runbook_url"]
    assert address == f"{RUNBOOKS}#{alert['alert'].lower()}"
    assert address.startswith("https://")


def test_one_variable_is_the_address_of_all_runbooks(tmp_path: Path) -> None:
    for path in (*TESTS, FOLDER / "rules.yml", FOLDER / "operator_rules.py"):
        shutil.copy(path, tmp_path)
    build = subprocess.run(
        [sys.executable, "operator_rules.py"],
        cwd=tmp_path,
        env={"RUNBOOKS": "https://wiki.example.org/alerts"},
        capture_output=True,
        timeout=60,
    )
    assert build.returncode == 0, build.stderr
    for text in (build.stdout.decode(), *(path.read_text() for path in tmp_path.glob("*.yml"))):
        found = re.findall(r"runbook_url: (\S+)$", text, re.MULTILINE)
        assert all(re.fullmatch(r"https://wiki.example.org/alerts#\w+", each) for each in found)
        assert RUNBOOKS not in text
    assert build.stdout.decode().count("runbook_url: ") == len(ALERTS)


def test_the_runbooks_are_those_of_the_alerts() -> None:
    text = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (\w+)$", text, re.MULTILINE) == [each["alert"] for each in ALERTS]


def test_kubernetes_has_the_same_rules() -> None:
    assert find(PROCESSOR, "PrometheusRule")["spec"] == read_one(FOLDER / "rules.yml")
    build = subprocess.run([sys.executable, FOLDER / "operator_rules.py"], capture_output=True)
    assert build.stdout == (PROCESSOR / "prometheusrule.yaml").read_bytes(), "run 'make dashboard'"


def test_models_are_put_together_over_workers() -> None:
    for rule in RULES:
        for family in re.findall(r"(?<![:\w])model_\w+(?![:\w])", rule["expr"]):
            merged = f"max without (instance, pod) (last_over_time({family}[2m]))"
            assert merged in rule["expr"], rule


def test_the_scraped_address_is_the_processors() -> None:
    (job,) = read_one(FOLDER / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"processor:{Settings().metrics_port}"]}]
    assert "processor" in read_one(DEPLOY / "compose.yaml")["services"]
    assert job.get("metrics_path", "/metrics") == "/metrics"
