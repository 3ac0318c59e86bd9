"""The commands ``processor replay`` and ``processor report``: fold sources, render, write the result."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay
from processor.domain.tally.windows import MINUTE
from processor.domain.timestamps import format_time
from processor.errors import ProcessorError, SettingsError
from processor.replay.estimates import ModelEstimates, with_estimates
from processor.replay.fold import ReplayFold, Shortfall
from processor.replay.journal import Journal
from processor.replay.selection import Selection, no_match
from processor.replay.sources import Access, check_resumable, fold_sources
from processor.report.compare import (
    PREDICTOR,
    Comparison,
    Comparisons,
    compare_periods,
    compare_predictors,
    parse_period,
)
from processor.report.count_changes import CountChanges
from processor.report.data import Report, timelines_of
from processor.report.formats.csv_rows import render_csv
from processor.report.formats.html import render_html
from processor.report.formats.openmetrics import Backfill, block_name, blocks, check_span, span_of
from processor.report.formats.text import render_text
from processor.report.late_labels import late_labels_of
from processor.report.output import write_output
from processor.report.stored import FORMATS as STORED_FORMATS
from processor.report.stored import render_stored, to_store
from processor.settings import Settings

if TYPE_CHECKING:
    from processor.archive.elasticsearch.results import ResultStore

#: The values of ``--format``.
FORMATS = ("json", "openmetrics", "csv", "text", "html")
#: Formats that can show comparisons.
_COMPARING = ("json", "text", "html")


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """The options of the output.

    ``format`` is one of `FORMATS`; ``output`` is a file or, for OpenMetrics, a folder; None is standard
    output. OpenMetrics has samples every ``step`` seconds on the ``bases`` (empty: those of the
    settings), and samples of the last hours only with ``recent``. ``compare`` is "predictor", FROM/TO
    or empty. ``store`` keeps the result in Elasticsearch too. ``resume`` is the journal's file.
    ``nowcast`` adds the nowcast and the drift of each model.
    """

    format: str
    output: Path | None = None
    step: int = MINUTE
    recent: bool = False
    bases: tuple[str, ...] = ()
    compare: str = ""
    store: bool = False
    resume: Path | None = None
    nowcast: bool = False


class _Compared(Replay, frozen=True, rename={"from_": "from"}):
    """The JSON of a replay with the comparisons at its end."""

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...]


async def report_sources(
    sources: Sequence[str],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    options: OutputOptions,
) -> Shortfall | None:
    """Fold the sources, write the result, and store it if asked for. Returns the reason why the result
    is empty or incomplete, None if it is neither."""
    if options.resume is not None:
        check_resumable(sources)
        with Journal(options.resume) as journal:
            return await _report(sources, rules, selection, access, options, journal)
    return await _report(sources, rules, selection, access, options, None)


async def _report(
    sources: Sequence[str],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    options: OutputOptions,
    journal: Journal | None,
) -> Shortfall | None:
    settings = access.settings
    other = _other_period(selection, options)
    store = _result_store(settings) if options.store else None
    try:
        fold = await fold_sources(sources, rules, selection, access, journal)
        replay = fold.result()
        estimates = fold.estimates(settings.label_maturity) if options.nowcast else {}
        replay = with_estimates(replay, estimates)
        if options.format == "openmetrics":
            _write_openmetrics(fold, settings, options)
        else:
            comparisons: Comparisons | None = None
            if other is not None:
                comparisons = compare_periods(fold, other)
            elif options.compare:
                comparisons = compare_predictors(fold, replay.models)
            write_output(_render(fold, replay, comparisons, estimates, options), options.output)
        if store is not None:
            as_of = format_time(selection.as_of) if selection.as_of is not None else None
            await store.write(to_store(replay, as_of, format_time(time.time_ns())))
    finally:
        if store is not None:
            await store.close()
    return fold.shortfall(replay)


async def report_stored(
    settings: Settings, selection: Selection, by: str, format: str, output: Path | None
) -> None:
    """Write the stored results of the selected names and, where the selection has a start or end, of
    exactly that period. An empty ``by`` selects both bases. `ProcessorError` if no name matches."""
    if format not in STORED_FORMATS:
        raise SettingsError(f"stored results have no {format}: use {', '.join(STORED_FORMATS)}")
    store = _result_store(settings)
    try:
        results = await store.read(by, selection.namespace, selection.deployment)
        if not results and (others := await store.read(by, "", "")):
            names = {(each.result.namespace, each.result.deployment) for each in others}
            raise ProcessorError(f"of the stored results, {no_match(selection, names)}")
    finally:
        await store.close()
    for name, time_ns in (("from_", selection.start), ("to", selection.end)):
        if time_ns is not None:
            time_text = format_time(time_ns)
            results = [each for each in results if getattr(each, name) == time_text]
    write_output(render_stored(results, format), output)


def _result_store(settings: Settings) -> "ResultStore":
    # The client takes longer to import than most files to read.
    from processor.archive.elasticsearch.results import ResultStore

    return ResultStore(settings)


def _other_period(selection: Selection, options: OutputOptions) -> Selection | None:
    if not options.compare:
        return None
    if options.format not in _COMPARING:
        raise SettingsError(
            f"--compare does not apply to {options.format}: use --format {', '.join(_COMPARING)}"
        )
    if options.compare == PREDICTOR:
        return None
    try:
        return parse_period(options.compare, selection.by, time.time_ns())
    except ValueError as error:
        raise SettingsError(f"--compare {error}") from None


def _render(
    fold: ReplayFold,
    replay: Replay,
    comparisons: Comparisons | None,
    estimates: Mapping[ModelKey, ModelEstimates],
    options: OutputOptions,
) -> Iterator[str]:
    if options.format == "json":
        content = msgspec.json.encode(replay)
        if comparisons is not None:
            fields = {name: getattr(replay, name) for name in Replay.__struct_fields__}
            content = msgspec.json.encode(
                _Compared(**fields, **msgspec.structs.asdict(comparisons))
            )
        return iter([msgspec.json.format(content, indent=1).decode() + "\n"])
    if options.format == "csv":
        return render_csv(replay)
    if options.format == "text":
        return render_text(Report(replay, {}, comparisons))
    late = {key: late_labels_of(each) for key, each in estimates.items()}
    return render_html(Report(replay, timelines_of(fold), comparisons, late))


def _write_openmetrics(fold: ReplayFold, settings: Settings, options: OutputOptions) -> None:
    start, end = fold.selection.start, fold.selection.end
    changes = CountChanges(options.step, end)
    for request in fold.requests():
        changes.add(request)
    folder = options.output if options.output is not None and options.output.is_dir() else None
    span = span_of(changes, start, end)
    if span is None:
        if folder is None:
            write_output(["# EOF\n"], options.output)
        return
    check_span(span, options.step, time.time(), options.recent, folder is not None)
    backfill = Backfill(changes, settings, options.bases or settings.metrics_by)
    if folder is None:
        write_output(backfill.text(span), options.output)
        return
    for block in blocks(span, options.step):
        write_output(backfill.text(block), folder / block_name(block, options.step))


def prepare_folder(output: Path) -> None:
    """Create the folder ``output``. `ProcessorError` if that fails."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProcessorError(f"{output} can't be made: {error.strerror or error}") from None
