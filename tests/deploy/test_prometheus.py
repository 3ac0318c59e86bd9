"""Rules and alerts: valid, tried on series, and only on metrics that there are."""

import re
import subprocess
import sys
from typing import Any

import pytest

from processor.publish.collector import OwnCollector
from processor.publish.exposition import Exposition
from processor.publish.families import COUNTERS, FAMILIES
from processor.publish.interfaces import Gauges
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.fakes import FakeHealth
from tests.support.manifests import DEPLOY, PROCESSOR, ROOT, find, read_one

FOLDER = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in read_one(FOLDER / "rules.yml")["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


@pytest.mark.parametrize(
    "command",
    ["check rules rules.yml", "check config prometheus.yml", "test rules rules_test.yml"],
)
def test_promtool(command: str, promtool: str) -> None:
    run = subprocess.run(
        [promtool, *command.split()], cwd=FOLDER, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_rules_read_metrics_that_there_are() -> None:
    gauges = Gauges(
        watermark_timestamp_seconds=1.0,
        checkpoint_age_seconds=0.0,
        archive_bytes=1,
    )
    health = FakeHealth(held=gauges)
    own = OwnCollector(Telemetry(), health).collect()
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
    for rule in RULES:
        assert set(re.findall(r'window="(\w+)"', rule["expr"])) <= windows, rule
        assert set(re.findall(r'by="(\w+)"', rule["expr"])) <= set(settings.metrics_by), rule


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_wrong_and_is_tried(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in alert["annotations"]["summary"]
    tried = [
        case["alertname"]
        for test in read_one(FOLDER / "rules_test.yml")["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    ]
    assert alert["alert"] in tried
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (\w+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert alert["alert"] in headings
    assert anchor == alert["alert"].lower()


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
