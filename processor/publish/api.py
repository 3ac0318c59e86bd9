"""The bodies of ``GET /api/models``: the live results, in the same JSON as ``processor replay``."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.nowcast_result import drift_result, nowcast_result
from processor.domain.results import Events, ModelResult, Replay, events_read, model_result
from processor.domain.tally.windows import TIERS, Window
from processor.domain.timestamps import SECOND, format_time
from processor.publish.cardinality import cap_result
from processor.publish.cooperative import yielding
from processor.publish.estimates.live import LiveEstimates, ModelEstimates
from processor.publish.families import model_rows
from processor.publish.interfaces import CountsSource, Gauges
from processor.telemetry import Telemetry


class WindowModels(msgspec.Struct, frozen=True):
    """The results of all models in one window on one basis."""

    models: tuple[ModelResult, ...]


class AllWindows(msgspec.Struct, frozen=True):
    """The results of all models by window name and basis; ``at`` is RFC 3339."""

    at: str
    windows: dict[str, dict[str, WindowModels]]


@dataclass(frozen=True, slots=True)
class LiveModels:
    """Computes results from counts, with ``max_classes`` labels per model and window at most."""

    counts_source: CountsSource
    max_classes: int
    rules: ModelRules
    estimates: LiveEstimates

    async def one(self, window: Window, by: str, now: float, events: Events) -> Replay:
        """The results of one window on one basis at ``now``, in seconds since 1970."""
        models = await self._results([window], [by], now)
        start, end = window_span(window, now)
        return Replay(start, end, by, tuple(models[window.name, by]), events)

    async def all(self, windows: Sequence[Window], bases: Sequence[str], now: float) -> AllWindows:
        """The results of each window on each basis at ``now``, in seconds since 1970."""
        models = await self._results(windows, bases, now)
        return AllWindows(
            instant(now),
            {
                window.name: {by: WindowModels(tuple(models[window.name, by])) for by in bases}
                for window in windows
            },
        )

    async def _results(
        self, windows: Sequence[Window], bases: Sequence[str], now: float
    ) -> dict[tuple[str, str], list[ModelResult]]:
        async for _ in yielding(self.counts_source.advance(now)):
            pass
        counts_by_window = self.counts_source.windows(now)
        late: Mapping[ModelKey, ModelEstimates] = {}
        if "request" in bases:
            await self.estimates.refresh(self.counts_source, now)
            late = self.estimates.by_model()
        wanted = {
            (window.name, by): counts_by_window.get((window.name, by), {})
            for window in windows
            for by in bases
        }
        results: dict[tuple[str, str], list[ModelResult]] = {view: [] for view in wanted}
        async for row in yielding(model_rows(wanted, bases, (), late)):
            result = model_result(row.key, row.counts, row.by, self.rules)
            if row.estimates is not None:
                result = msgspec.structs.replace(
                    result,
                    nowcast=nowcast_result(row.estimates),
                    drift=drift_result(row.estimates),
                )
            results[row.window, row.by].append(cap_result(result, self.max_classes))
        return results


def window_span(window: Window, now: float) -> tuple[str | None, str]:
    """Start and end of a window at ``now`` (seconds since 1970), as RFC 3339.

    The start is None for the window of all time. The running bucket belongs to the window (counting
    rule 16).

    >>> window_span(Window("5m", 300, 0), 1795165439.5)
    ('2026-11-20T08:59:00Z', '2026-11-20T09:03:59.5Z')
    """
    if not window.seconds:
        return None, instant(now)
    size = TIERS[window.tier].size
    start = (int(now) // size + 1) * size - window.seconds
    return format_time(max(0, start) * SECOND), instant(now)


def live_events(telemetry: Telemetry, gauges: Gauges) -> Events:
    """Counts of the events that this process has read since its start, for ``events`` of a result."""
    return events_read(
        telemetry,
        telemetry.not_scorable + Counter(gauges.not_scorable_items),
        read=sum(telemetry.events.values()),
        unmatched=gauges.unmatched_feedbacks,
        rows_differ=gauges.rows_differ,
        ambiguous=gauges.ambiguous,
    )


def encode_json(value: object) -> bytes:
    r"""Encode a struct or plain data as JSON.

    >>> encode_json({"label": "\udcff"})
    b'{"label": "\\udcff"}'
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A lone surrogate, as from a broken HTTP header, can only be sent in its escaped form.
        return json.dumps(msgspec.to_builtins(value)).encode("ascii")


def instant(now: float) -> str:
    """Format seconds since 1970 as RFC 3339, to the millisecond."""
    # A float of seconds has no more exact digits than that.
    return format_time(int(now * 1000) * 1_000_000)
