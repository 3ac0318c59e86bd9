"""The model families for prometheus_client: the slow twin of `Exposition`, to compare it with."""

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from processor.domain.model_key import ModelKey
from processor.publish.cardinality import LimitedCounts
from processor.publish.estimates.families import DELAYS
from processor.publish.estimates.live import ModelEstimates
from processor.publish.exposition import BOUNDS, CAPPED_HELP, HIDDEN_HELP, MIXED_HELP
from processor.publish.families import LABELS, all_families, model_rows, row_samples
from processor.publish.interfaces import CountsSource
from processor.settings import Settings


class ModelCollector(Collector):
    """Collects the families of a `CountsSource`, for any registry."""

    def __init__(
        self,
        counts_source: CountsSource,
        settings: Settings,
        clock: Callable[[], float],
        estimates: Mapping[ModelKey, ModelEstimates] | None = None,
    ) -> None:
        self._estimates = estimates or {}
        self._limited = LimitedCounts(counts_source, settings.max_models)
        self._settings = settings
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Yield every family that has samples."""
        families = {
            each.name: GaugeMetricFamily(each.name, each.help, labels=(*LABELS, *each.labels))
            for each in all_families()
        }
        hidden: dict[ModelKey, int] = {}
        mixed = set()
        settings = self._settings
        counts = self._limited.windows(self._clock())
        bases, windows = settings.metrics_by, settings.cell_windows
        for row in model_rows(counts, bases, windows, self._estimates):
            samples, left_out, is_mixed = row_samples(row, settings.max_classes, settings.metrics)
            mixed |= {row.key} if is_mixed else set()
            hidden[row.key] = max(left_out, hidden.get(row.key, 0))
            for name, labels, value in samples:
                families[name].add_metric((*row.labels, *labels), value)
        yield from (family for family in families.values() if family.samples)
        delays = HistogramMetricFamily(DELAYS.name, DELAYS.help, labels=LABELS[:4])
        for key, each in self._estimates.items():
            buckets = list(zip(BOUNDS, accumulate(each.delays), strict=True))
            delays.add_metric(key, buckets, None)
        if delays.samples:
            yield delays
        yield GaugeMetricFamily("processor_capped_labels", CAPPED_HELP, value=sum(hidden.values()))
        yield GaugeMetricFamily("processor_mixed_outputs", MIXED_HELP, value=len(mixed))
        yield GaugeMetricFamily("processor_hidden_models", HIDDEN_HELP, value=self._limited.hidden)
