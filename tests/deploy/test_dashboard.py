"""The Grafana dashboard: built from its code, and only of what a running worker publishes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.publish import alert_families, value_families
from processor.publish.estimates import families as estimate_families
from processor.publish.families import CUSTOM_LABELS, LABELS
from tests.support.demo import Demo
from tests.support.manifests import DEPLOY, read_one

FOLDER = DEPLOY / "grafana"
COMMITTED = (FOLDER / "model_quality.json").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads(COMMITTED)

#: What a name may be in an expression beside a metric or a label.
_WORDS = {"max", "min", "sum", "count", "rate", "increase", "time", "histogram_quantile"} | {
    *("without", "by", "on", "and", "unless", "ignoring", "group_left", "sort", "le"),
}


def panels() -> Iterator[dict[str, Any]]:
    yield from (each for each in DASHBOARD["panels"] if each["type"] != "row")


def expressions() -> list[str]:
    """Every query, of panels and of variables."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    for each in DASHBOARD["templating"]["list"]:
        if each["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", each["query"])
            assert match
            queries.append(f"max by ({match[2]}) ({match[1]})")
    return queries


def test_the_committed_file_is_what_the_code_builds() -> None:
    build = subprocess.run(
        [sys.executable, str(FOLDER / "model_quality.py")], capture_output=True, timeout=60
    )
    assert build.returncode == 0, build.stderr
    assert build.stdout.decode() == COMMITTED, "run 'make dashboard'"


def test_every_panel_says_what_it_shows() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) > 20
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
    places = [tuple(panel["gridPos"].values()) for panel in panels()]
    assert len(set(places)) == len(places)


def test_every_variable_is_one_of_the_dashboards() -> None:
    known = {each["name"] for each in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", COMMITTED)) <= known


@pytest.fixture(scope="module")
def scraped(demo: Demo) -> dict[str, set[str]]:
    """Label names by metric name, of a running worker's scrape; those of Prometheus are added, and the
    families of numbers, label sets and estimates, of which the demo's model has none."""
    found = {
        family.name: {"instance", "pod", "job", *LABELS, *family.labels}
        for family in (
            *value_families.FAMILIES,
            *estimate_families.FAMILIES,
            *alert_families.FAMILIES,
        )
    }
    with urlopen(f"{demo.page}metrics", timeout=60) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {"instance", "pod", "job"}).update(sample.labels)
    return found


@pytest.mark.parametrize("expr", sorted(set(expressions())))
def test_metrics_and_labels_are_those_of_a_running_worker(
    expr: str, scraped: dict[str, set[str]]
) -> None:
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expr)
    names = set(re.findall(r"[A-Za-z_]\w*", bare)) - _WORDS
    metrics = {name for name in names if name.startswith(("model_", "processor_", "process_"))}
    if "__name__" in names:  # of custom statistics, which are named in the models file
        assert "model_custom_" in expr
        assert names - {"__name__"} <= {*LABELS, *CUSTOM_LABELS}
        return
    assert metrics
    assert metrics <= scraped.keys()
    labels = set.union(*(scraped[name] for name in metrics))
    assert names - metrics <= labels


def test_compose_shows_it() -> None:
    grafana = read_one(DEPLOY / "compose.yaml")["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounts["./grafana/model_quality.json"] == home
    (provider,) = read_one(FOLDER / "provisioning/dashboards/model-quality.yml")["providers"]
    assert home.startswith(provider["options"]["path"])
    (source,) = read_one(FOLDER / "provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_kustomize_takes_the_same_file() -> None:
    (generator,) = read_one(FOLDER / "kustomization.yaml")["configMapGenerator"]
    assert generator["files"] == ["model_quality.json"]
