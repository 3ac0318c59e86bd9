"""The examples of objectives for Sloth and Pyrra: valid PromQL on the counters that there are."""

import re
import subprocess
from pathlib import Path

import yaml

from processor.domain.statistics.verdicts import VERDICTS
from processor.publish.families import COUNTERS
from tests.support.manifests import ROOT, read_one

FOLDER = ROOT / "examples" / "slo"
#: The labels of the counters.
LABELS = {"deployment_namespace", "deployment", "predictor", "model", "verdict"}


def assert_known(query: str) -> None:
    selectors = re.findall(r"(\w+)\{([^}]*)\}", query)
    assert selectors
    for name, labels in selectors:
        assert name in {f"{family.name}_total" for family in COUNTERS}
        pairs = dict(re.findall(r'(\w+)="(\w+)"', labels))
        assert pairs.keys() <= LABELS
        assert pairs.get("verdict", "wrong") in VERDICTS


def test_the_queries_are_promql_on_counters_that_there_are(promtool: str, tmp_path: Path) -> None:
    (slo,) = read_one(FOLDER / "sloth.yml")["slos"]
    events = slo["sli"]["events"]
    ratio = read_one(FOLDER / "pyrra.yaml")["spec"]["indicator"]["ratio"]
    queries = [events["error_query"], events["total_query"]]
    assert all("{{.window}}" in query for query in queries)
    queries += [f"rate({ratio[part]['metric']}[1h])" for part in ("errors", "total")]
    rules = []
    for number, query in enumerate(queries):
        assert_known(query)
        rules.append({"record": f"r{number}", "expr": query.replace("{{.window}}", "1h")})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "slo", "rules": rules}]}), encoding="utf-8")
    run = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert set(ratio["grouping"]) <= LABELS
