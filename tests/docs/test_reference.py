"""The reference pages, against the code and a running worker."""

import re
from dataclasses import fields
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import Targets
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.sums import Sum, Sums
from processor.domain.statistics.verdicts import Outcomes
from processor.models_file import read_models
from processor.publish.alert_families import target_samples
from processor.publish.collector import OwnCollector
from processor.publish.exposition import Exposition
from processor.publish.families import Row
from processor.publish.interfaces import Gauges
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.docs.pages import PAGES, PAPERS, ROOT, text
from tests.support.demo import Demo
from tests.support.domain.late_cohorts import late_estimates
from tests.support.fakes import FakeHealth
from tests.support.valued_counts import number_counts, set_counts


def test_every_setting_is_listed_as_it_is() -> None:
    row = re.compile(r"^(\| `PROCESSOR_.*? \| .*? )\| (.*?) (\| .*? \|)$", re.MULTILINE)
    listed = {start + end: takes for start, takes, end in row.findall(text("settings.md"))}
    wanted = {
        f"| `PROCESSOR_{each.name.upper()}` "
        f"| {'`' + each.metadata['default'] + '`' if each.metadata['default'] else ''} "
        f"| {each.metadata['meaning']} |": each.metadata["parse"]
        for each in fields(Settings)
    }
    assert sorted(listed) == sorted(wanted), (
        "docs/settings.md is not what processor/settings.py says"
    )
    for line, takes in listed.items():
        for value in re.findall(r"`([^`]+)`", takes):
            if not value.startswith("PROCESSOR_"):
                wanted[line](value)  # an example that is refused raises


def families(exposition: str) -> dict[str, Metric]:
    return {family.name: family for family in parse_text(exposition)}


#: Gauges that the demo has not: it has no Kafka and no Elasticsearch.
_ON_KAFKA = Gauges(
    broker_up=1,
    source_topics_missing=0,
    source_silent_seconds=2.5,
    archive_up=0,
    snapshot_store_up=1,
    archive_refused={"rights": 1},
    native_templates=1,
    native_plans=1,
)


@pytest.fixture(scope="module")
def scraped(demo: Demo) -> dict[str, Metric]:
    """The families of a running worker, and those of numbers, label sets, estimates and custom
    statistics, of which the demo's model has none."""
    exposition = Exposition(64)
    key = ModelKey("shop", "prices", "default", "trees")
    exposition.add(Row(key, "all", "request", number_counts([(2, 1), (4, 2)], (1, -1)), True))
    exposition.add(Row(key, "all", "request", set_counts([(frozenset("a"), frozenset("b"))]), True))
    late = late_estimates("24h")
    row = Row(key, "24h", "request", Counts(predictions=1), True, late.by_window["24h"])
    exposition.add(row)
    exposition.add_delays(key, late.delays)
    exposition.add_outcomes(key, Outcomes((3, 2), (1, 0)))
    exposition.add_samples(key, target_samples(Targets(0.8, 25, 7 * 86_400, 0.3, True, ("a",))))
    rule = {"match": "*/*", "statistics": ["examples.cost_matrix:CostMatrix"]}
    read_models({"models": [rule]}, custom_statistics=True)
    sums: Sums = {(Sum.CUSTOM_ITEMS, "cost_matrix", 0): 1, (Sum.CUSTOM, "cost_matrix\0items", 0): 1}
    exposition.add(Row(key, "all", "request", Counts(judged=1, sums=sums), True))
    own = families(exposition.text())
    read_models({})
    registry = CollectorRegistry()
    registry.register(OwnCollector(Telemetry(), FakeHealth(held=_ON_KAFKA)))
    own |= families(generate_latest(registry).decode())
    with urlopen(f"{demo.page}metrics", timeout=60) as answer:
        return own | families(answer.read().decode())


@pytest.fixture(scope="module")
def documented() -> dict[str, Metric]:
    blocks = re.findall(r"^```text\n(# HELP.*?)^```", text("metrics.md"), re.MULTILINE | re.DOTALL)
    return families("".join(blocks))


def test_every_family_is_documented_as_it_is(
    scraped: dict[str, Metric], documented: dict[str, Metric]
) -> None:
    assert sorted(documented) == sorted(scraped), "docs/metrics.md and /metrics differ"
    for name, family in scraped.items():
        found = documented[name]
        assert (found.type, found.documentation) == (family.type, family.documentation), name


def test_every_sample_of_the_page_has_the_labels_of_a_real_one(
    scraped: dict[str, Metric], documented: dict[str, Metric]
) -> None:
    for name, family in documented.items():
        assert family.samples, name
        real = {each.name: set(each.labels) for each in scraped[name].samples}
        # What the demo has none of has no sample there.
        for sample in family.samples if real else ():
            assert set(sample.labels) == real[sample.name], sample


@pytest.mark.parametrize("page", PAGES + PAPERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES + PAPERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_files_and_settings_are_real(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:deploy|docs|tests|examples|processor|bench)/[\w./-]+)`", content):
        assert (ROOT / path).exists(), path
    known = {f"PROCESSOR_{each.name.upper()}" for each in fields(Settings)}
    known |= {f"{name}_FILE" for name in known}
    known.add("PROCESSOR_TEST_CACHE")  # of the tests, not of the service
    for name in re.findall(r"\bPROCESSOR_[A-Z_]*[A-Z]\b", content):
        assert name in known, name
