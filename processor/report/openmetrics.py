"""The live metric families over a stretch of the past, as files for Prometheus' own backfill.

OpenMetrics wants the samples of a family in one piece, and in it those of a series: so a series is
written for a whole file at once, family by family into files of their own, put together at the end.
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
from processor.publish.families import FAMILIES, LABELS, Row, row_samples
from processor.report.timeline import RollingWindow, Timeline
from processor.settings import Settings

#: Prometheus' blocks are two hours long, from even hours of UTC.
BLOCK = 2 * HOUR
#: What a running Prometheus still keeps out of its blocks: a block made by others must not overlap.
RECENT = 3 * HOUR
#: Samples of a series in one piece of output, which bounds memory: 69 days of minutes.
_MAX_SERIES = 100_000
#: Files of a folder: 13 months. More is mostly an event with a wrong time.
_MAX_FILES = 4_800
#: Bytes of a family kept in memory.
_SPOOL = 1 << 22


class Span(NamedTuple):
    """Samples from number ``first`` to ``last``, both included."""

    first: int
    last: int


def span_of(timeline: Timeline, start: int | None, end: int | None) -> Span | None:
    """The multiples of the step in (start, end] (ns); by default from the data's first time to
    past its last one. None if there is nothing."""
    if timeline.first is None or timeline.last is None:
        return None
    unit = timeline.step * SECOND
    first = start // unit + 1 if start is not None else -(-timeline.first // unit)
    last = end // unit if end is not None else -(-timeline.last // unit)
    first = max(first, min(timeline.first_tick(key) for key in timeline.models()))
    return Span(first, last) if first <= last else None


def check_span(span: Span, step: int, now: float, recent: bool, folder: bool) -> None:
    """`SettingsError` where the samples are too new for a backfill, or too many."""
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
    if not folder and samples > _MAX_SERIES:
        raise SettingsError(
            f"{_time(span.first * step)} to {_time(last)} are {samples:,} samples of each series, "
            "too many for one file: name a folder with --output, a longer --step, or the time with "
            "--from and --to"
        )


def blocks(span: Span, step: int) -> Iterator[Span]:
    """The span cut at even hours of UTC."""
    first = span.first
    while first <= span.last:
        end = (first * step // BLOCK + 1) * BLOCK
        last = min(span.last, -(-end // step) - 1)
        yield Span(first, last)
        first = last + 1


def block_name(block: Span, step: int) -> str:
    """The file's name: the even hour that the block begins with."""
    return f"model-metrics-{_time(block.first * step // BLOCK * BLOCK).replace(':', '')}.om"


class Backfill:
    """Writes one span after another, in the order of time."""

    def __init__(self, timeline: Timeline, settings: Settings, bases: Sequence[str]) -> None:
        self._step = timeline.step
        self._max_classes = settings.max_classes
        self._lines = [
            _Line(
                key, window.name, by, window in settings.cell_windows,
                RollingWindow(window, changes, timeline.step), timeline.first_tick(key),
            )
            for key in timeline.models()
            for by in bases
            for changes in [timeline.changes(key, by)]
            for window in settings.windows
        ]  # fmt: skip

    def text(self, span: Span) -> Iterator[str]:
        """The OpenMetrics text of a span, in pieces; spans must come in the order of time."""
        with ExitStack() as stack:
            spools: dict[str, IO[str]] = {}
            for line in self._lines:
                for name, text in self._series(line, span):
                    if name not in spools:
                        spools[name] = stack.enter_context(
                            SpooledTemporaryFile(_SPOOL, "w+", encoding="utf-8", newline="\n")
                        )
                    spools[name].write(text)
            for family in FAMILIES:
                spool = spools.get(family.name)
                if spool is None:
                    continue
                yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n"
                spool.seek(0)
                while piece := spool.read(1 << 20):
                    yield piece
        yield "# EOF\n"

    def _series(self, line: "_Line", span: Span) -> Iterator[tuple[str, str]]:
        """Each series of a line: its family, and its samples in the order of time."""
        series: dict[tuple[str, tuple[str, ...]], _Runs] = {}
        samples = None
        for tick in range(max(span.first, line.first), span.last + 1):
            if line.rolling.advance(tick) or samples is None:
                row = Row(line.key, line.window, line.by, line.rolling.counts, line.cells)
                samples, _ = row_samples(row, self._max_classes)
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
            for name, value in zip(LABELS, (*line.key, line.window, line.by), strict=True)
        )
        for (name, labels), runs in series.items():
            own = "".join(
                f',{label}="{escape_label(value)}"'
                for label, value in zip(_OWN[name], labels, strict=True)
            )
            yield name, "".join(self._samples(f"{name}{{{base}{own}}}", runs))

    def _samples(self, name: str, runs: "_Runs") -> Iterator[str]:
        step = self._step
        for i, value in enumerate(runs.values):
            text = str(int(value)) if value.is_integer() else repr(value)
            for tick in range(runs.ticks[2 * i], runs.ticks[2 * i + 1] + 1):
                yield f"{name} {text} {tick * step}\n"


class _Line(NamedTuple):
    """All series of a model in one window on one basis."""

    key: ModelKey
    window: str
    by: str
    cells: bool
    rolling: RollingWindow
    first: int


class _Runs(NamedTuple):
    """The values of a series, each with the first and the last sample that has it."""

    ticks: "array[int]"
    values: "array[float]"


_OWN = {family.name: family.labels for family in FAMILIES}


def _time(seconds: int) -> str:
    return format_time(seconds * SECOND)
