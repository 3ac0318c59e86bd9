"""The live metric families over a past time, as OpenMetrics files that Prometheus can backfill.

OpenMetrics requires the samples of a family, and within it those of a series, to be contiguous. So a
series is written for a whole file at once, to a temporary file for each family; these are concatenated
at the end.
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from processor.domain.model_key import ModelKey
from processor.domain.tally.windows import HOUR
from processor.domain.timestamps import SECOND, format_time
from processor.errors import SettingsError
from processor.publish.exposition import escape_label
from processor.publish.families import (
    CUSTOM_LABELS,
    FAMILIES,
    LABELS,
    Row,
    all_families,
    row_samples,
)
from processor.report.count_changes import CountChanges, RollingWindow
from processor.settings import Settings

#: Seconds of a Prometheus block; blocks begin at even hours of UTC.
BLOCK = 2 * HOUR
#: Seconds that a running Prometheus has not written to a block yet: a backfilled block must not overlap.
RECENT = 3 * HOUR
#: Maximum number of samples of a series in one file, which bounds memory: 69 days of minutes.
_MAX_SAMPLES = 100_000
#: Maximum number of files in a folder: 13 months. A longer time mostly comes from an event with a wrong
#: time.
_MAX_FILES = 4_800
#: Bytes of a family's samples that are kept in memory; more of them go to a temporary file.
_SPOOL = 1 << 22


class Span(NamedTuple):
    """The samples from number ``first`` to number ``last``, both included."""

    first: int
    last: int


def span_of(changes: CountChanges, start: int | None, end: int | None) -> Span | None:
    """The samples at multiples of the step in (start, end] (ns); by default all from the first
    contribution to the first sample after the last one. None without any sample."""
    if changes.first is None or changes.last is None:
        return None
    unit = changes.step * SECOND
    first = start // unit + 1 if start is not None else -(-changes.first // unit)
    last = end // unit if end is not None else -(-changes.last // unit)
    first = max(first, min(changes.first_tick(key) for key in changes.models()))
    return Span(first, last) if first <= last else None


def check_span(span: Span, step: int, now: float, recent: bool, folder: bool) -> None:
    """Raise `SettingsError` if the samples are too recent for a backfill (unless ``recent`` allows
    that), or too many for a file or, with ``folder``, for a folder of files. ``now`` is in seconds
    since 1970."""
    last = span.last * step
    if not recent and last > now - RECENT:
        raise SettingsError(
            f"samples up to {_time(last)} reach into the last 3 hours, which a running Prometheus "
            f"has not written to its blocks yet: end with --to {_time(int(now) - RECENT)} or "
            "earlier, or insist with --recent"
        )
    samples = span.last - span.first + 1
    files = last // BLOCK - span.first * step // BLOCK + 1
    if folder and files > _MAX_FILES:
        raise SettingsError(
            f"{_time(span.first * step)} to {_time(last)} are {files:,} files of two hours: name "
            "the time with --from and --to"
        )
    if not folder and samples > _MAX_SAMPLES:
        raise SettingsError(
            f"{_time(span.first * step)} to {_time(last)} are {samples:,} samples of each series, "
            "too many for one file: name a folder with --output, a longer --step, or the time with "
            "--from and --to"
        )


def blocks(span: Span, step: int) -> Iterator[Span]:
    """Split a span at even hours of UTC."""
    first = span.first
    while first <= span.last:
        end = (first * step // BLOCK + 1) * BLOCK
        last = min(span.last, -(-end // step) - 1)
        yield Span(first, last)
        first = last + 1


def block_name(block: Span, step: int) -> str:
    """The name of a block's file, with the even hour at which the block begins."""
    return f"model-metrics-{_time(block.first * step // BLOCK * BLOCK).replace(':', '')}.om"


class Backfill:
    """Renders one span after another, in the order of time."""

    def __init__(self, changes: CountChanges, settings: Settings, bases: Sequence[str]) -> None:
        self._step = changes.step
        self._max_classes = settings.max_classes
        self._groups = settings.metrics
        self._windows = [
            _ModelWindow(
                key, window.name, by, window in settings.cell_windows,
                RollingWindow(window, of_model, changes.step), changes.first_tick(key),
            )
            for key in changes.models()
            for by in bases
            for of_model in [changes.changes(key, by)]
            for window in settings.windows
        ]  # fmt: skip

    def text(self, span: Span) -> Iterator[str]:
        """The OpenMetrics text of a span, in pieces. Spans must be given in the order of time."""
        with ExitStack() as stack:
            spools: dict[str, IO[str]] = {}
            for window in self._windows:
                for name, text in self._series(window, span):
                    if name not in spools:
                        spools[name] = stack.enter_context(
                            SpooledTemporaryFile(_SPOOL, "w+", encoding="utf-8", newline="\n")
                        )
                    spools[name].write(text)
            for family in all_families():
                spool = spools.get(family.name)
                if spool is None:
                    continue
                yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n"
                spool.seek(0)
                while piece := spool.read(1 << 20):
                    yield piece
        yield "# EOF\n"

    def _series(self, window: "_ModelWindow", span: Span) -> Iterator[tuple[str, str]]:
        """The family of each series of a model's window, and the text of its samples in the order of
        time."""
        series: dict[tuple[str, tuple[str, ...]], _Runs] = {}
        samples = None
        for tick in range(max(span.first, window.first), span.last + 1):
            if window.rolling.advance(tick) or samples is None:
                counts = window.rolling.counts
                row = Row(window.key, window.name, window.by, counts, window.has_cells)
                samples = row_samples(row, self._max_classes, self._groups).samples
                for name, labels, value in samples:
                    runs = series.get((name, labels))
                    if runs is None:
                        runs = series[name, labels] = _Runs(array("q"), array("d"))
                    runs.ticks.append(tick)
                    runs.ticks.append(tick)
                    runs.values.append(value)
                current = [series[name, labels] for name, labels, _ in samples]
            else:
                for runs in current:
                    runs.ticks[-1] = tick
        base = ",".join(
            f'{name}="{escape_label(value)}"'
            for name, value in zip(LABELS, (*window.key, window.name, window.by), strict=True)
        )
        for (name, labels), runs in series.items():
            own = "".join(
                f',{label}="{escape_label(value)}"'
                for label, value in zip(_OWN.get(name, CUSTOM_LABELS), labels, strict=False)
            )
            yield name, "".join(self._samples(f"{name}{{{base}{own}}}", runs))

    def _samples(self, name: str, runs: "_Runs") -> Iterator[str]:
        step = self._step
        for i, value in enumerate(runs.values):
            text = str(int(value)) if value.is_integer() else repr(value)
            for tick in range(runs.ticks[2 * i], runs.ticks[2 * i + 1] + 1):
                yield f"{name} {text} {tick * step}\n"


class _ModelWindow(NamedTuple):
    """All series of a model in one window on one basis, from the sample number ``first`` on."""

    key: ModelKey
    name: str
    by: str
    has_cells: bool
    rolling: RollingWindow
    first: int


class _Runs(NamedTuple):
    """The values of a series, run-length encoded: ``values[i]`` is the value from sample
    ``ticks[2 * i]`` to sample ``ticks[2 * i + 1]``."""

    ticks: "array[int]"
    values: "array[float]"


_OWN = {family.name: family.labels for family in FAMILIES}


def _time(seconds: int) -> str:
    return format_time(seconds * SECOND)
