"""The processor's own metrics for prometheus_client, built anew at each scrape.

Long-lived gauge objects would go on showing partitions that have moved to another worker.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from processor.domain.events.attributes import EXPLANATION, FAILED, OTHER
from processor.domain.events.raw_event import INTERPRETED, REASONS
from processor.domain.values import NOT_SCORABLE
from processor.publish.interfaces import Gauges, Health
from processor.telemetry import REFUSALS, Histogram, Telemetry, help_texts, product_version

#: Names of counters and gauges, without their prefix, and their HELP texts.
_COUNTERS, _GAUGES = help_texts(Telemetry), help_texts(Gauges)

#: Labels of a counter that has some (several are separated by a blank), and their values that are
#: published from 0 on, so that the first event of a kind shows as a rate.
_LABELLED: dict[str, tuple[str, tuple[str | tuple[str, ...], ...]]] = {
    "events": (
        "event_type",
        ("request", "response", "feedback", "unreadable", OTHER, FAILED, EXPLANATION),
    ),
    "dead_letters": ("reason", REASONS),
    "interpreted_events": ("reason", INTERPRETED),
    "ingress_requests": ("route status", (("/", "202"), ("/feedback", "202"))),
    "ingress_refused": ("reason", (*REFUSALS, *REASONS)),
    "not_scorable": ("reason", NOT_SCORABLE),
    "custom_statistic_errors": ("statistic", ()),
}


class OwnCollector(Collector):
    """Collects the families ``processor_*`` of one worker, from its telemetry and its health."""

    def __init__(self, telemetry: Telemetry, health: Health) -> None:
        self._telemetry = telemetry
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Yield counters, histograms, gauges and the build's version, as of now."""
        for name, text in _COUNTERS.items():
            value = getattr(self._telemetry, name)
            if isinstance(value, Histogram):
                yield _histogram(f"processor_{name}_seconds", text, value)
            elif name in _LABELLED:
                labels, known = _LABELLED[name]
                counter = CounterMetricFamily(f"processor_{name}", text, labels=labels.split())
                for each in dict.fromkeys((*known, *sorted(value))):
                    values = (each,) if isinstance(each, str) else each
                    counter.add_metric(values, value.get(each, 0))
                yield counter
            else:
                yield CounterMetricFamily(f"processor_{name}", text, value=value)
        gauges = self._health.gauges()
        for name, text in _GAUGES.items():
            value = getattr(gauges, name)
            if isinstance(value, Mapping):
                gauge = GaugeMetricFamily(f"processor_{name}", text, labels=("reason",))
                for reason, count in sorted(value.items()):
                    gauge.add_metric((reason,), count)
                yield gauge
            elif value is not None:
                yield GaugeMetricFamily(f"processor_{name}", text, value=value)
        yield InfoMetricFamily(
            "processor_build", "Version of the running processor.", {"version": product_version()}
        )


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.buckets), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)
