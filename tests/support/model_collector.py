"""The model families for prometheus_client: the slow twin of `Exposition`, to compare it with."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from processor.domain.model_key import ModelKey
from processor.publish.cardinality import LimitedCounts
from processor.publish.exposition import CAPPED_HELP, HIDDEN_HELP, MIXED_HELP
from processor.publish.families import LABELS, all_families, model_rows, row_samples
from processor.publish.interfaces import CountsSource
from processor.settings import Settings


class ModelCollector(Collector):
    """Collects the families of a `CountsSource`, for any registry."""

    def __init__(
        self, counts_source: CountsSource, settings: Settings, clock: Callable[[], float]
    ) -> None:
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
        for row in model_rows(counts, settings.metrics_by, settings.cell_windows):
            samples, left_out, is_mixed = row_samples(row, settings.max_classes, settings.metrics)
            mixed |= {row.key} if is_mixed else set()
            hidden[row.key] = max(left_out, hidden.get(row.key, 0))
            for name, labels, value in samples:
                families[name].add_metric((*row.labels, *labels), value)
        yield from (family for family in families.values() if family.samples)
        yield GaugeMetricFamily("processor_capped_labels", CAPPED_HELP, value=sum(hidden.values()))
        yield GaugeMetricFamily("processor_mixed_outputs", MIXED_HELP, value=len(mixed))
        yield GaugeMetricFamily("processor_hidden_models", HIDDEN_HELP, value=self._limited.hidden)
