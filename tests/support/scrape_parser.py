"""Parse metrics as Prometheus does."""

import functools
from collections.abc import Iterable, Mapping
from unittest.mock import patch

from prometheus_client import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import parse_labels
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.publish.estimates.live import ModelEstimates
from processor.publish.exposition import Exposition
from processor.publish.families import model_rows
from processor.settings import Settings
from tests.support.fakes import NOW, FakeCounts

Series = tuple[str, frozenset[tuple[str, str]]]


def values(families: Iterable[Metric]) -> dict[Series, float]:
    """The value of each series by name and labels; like Prometheus it fails on a repeated series."""
    result: dict[Series, float] = {}
    for family in families:
        for sample in family.samples:
            series = sample.name, frozenset(sample.labels.items())
            assert series not in result
            assert sample.timestamp is None
            result[series] = sample.value
    return result


def exposed(
    counts_source: FakeCounts,
    settings: Settings,
    estimates: Mapping[ModelKey, ModelEstimates] | None = None,
) -> str:
    exposition, late = Exposition(settings.max_classes, settings.metrics), estimates or {}
    counts = counts_source.windows(NOW)
    for row in model_rows(counts, settings.metrics_by, settings.cell_windows, late):
        exposition.add(row)
    for key, each in late.items():
        exposition.add_delays(key, each.delays)
    return exposition.text()


def collected(counts_source: FakeCounts, settings: Settings | None = None) -> dict[Series, float]:
    return values(parse_text(exposed(counts_source, settings or Settings())))


def model(name: str, key: ModelKey, window: str = "all", by: str = "request", **own: str) -> Series:
    labels = {
        "deployment_namespace": key.namespace,
        "deployment": key.deployment,
        "predictor": key.predictor,
        "model": key.model,
        "window": window,
        "by": by,
        **{label.rstrip("_"): value for label, value in own.items()},
    }
    return name, frozenset(labels.items())


def parse_openmetrics(text: str) -> list[Metric]:
    # The samples of a series have the same labels, whose parsing takes most of the time.
    with patch.object(parser, "parse_labels", _parse_labels):
        return list(parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def _parse_labels(text: str, openmetrics: bool = False) -> dict[str, str]:
    return dict(_remembered_labels(text, openmetrics))


@functools.lru_cache(maxsize=10_000)
def _remembered_labels(text: str, openmetrics: bool) -> dict[str, str]:
    return parse_labels(text, openmetrics)
