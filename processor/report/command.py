"""The replay and report commands: read sources, and write what they say in the form asked for."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from processor.archive.elasticsearch.results import ResultStore
from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay
from processor.domain.tally.windows import MINUTE
from processor.domain.timestamps import format_time
from processor.errors import ProcessorError, SettingsError
from processor.replay.fold import ReplayFold, Selection, Shortfall, no_match
from processor.replay.journal import Journal
from processor.replay.sources import Access, check_resumable, fold_sources
from processor.report.compare import (
    PREDICTOR,
    Comparison,
    Comparisons,
    compare_periods,
    compare_predictors,
    parse_period,
)
from processor.report.csv_rows import render_csv
from processor.report.data import ModelTimelines, Report
from processor.report.html import render_html
from processor.report.openmetrics import Backfill, block_name, blocks, check_span, span_of
from processor.report.output import write_output
from processor.report.stored import FORMATS as STORED_FORMATS
from processor.report.stored import render_stored, to_store
from processor.report.text import render_text
from processor.report.timeline import Timeline
from processor.settings import Settings

FORMATS = ("json", "openmetrics", "csv", "text", "html")
#: Forms that have a place for comparisons.
_COMPARING = ("json", "text", "html")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to write: ``style`` is one of `FORMATS`, ``step`` the seconds between samples of
    OpenMetrics and ``bases`` theirs, ``compare`` is ``predictor``, FROM/TO or empty; ``resume`` is
    where the pages of an Elasticsearch source are kept until it is written."""

    style: str
    output: Path | None = None
    step: int = MINUTE
    recent: bool = False
    bases: tuple[str, ...] = ()
    compare: str = ""
    store: bool = False
    resume: Path | None = None


class _Compared(Replay, frozen=True, rename={"from_": "from"}):
    """A replay's JSON with comparisons behind it."""

    comparisons: tuple[Comparison, ...]
    not_compared: tuple[str, ...]


async def report_sources(
    sources: Sequence[str],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    wanted: Wanted,
) -> Shortfall | None:
    """Fold the sources, and write (and store) what is wanted; what is to be said of it."""
    if wanted.resume is not None:
        check_resumable(sources)
        with Journal(wanted.resume) as journal:
            return await _report(sources, rules, selection, access, wanted, journal)
    return await _report(sources, rules, selection, access, wanted, None)


async def _report(
    sources: Sequence[str],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    wanted: Wanted,
    journal: Journal | None,
) -> Shortfall | None:
    settings = access.settings
    other = _other_period(selection, wanted)
    store = ResultStore(settings) if wanted.store else None
    try:
        fold = await fold_sources(sources, rules, selection, access, journal)
        replay = fold.result()
        if wanted.style == "openmetrics":
            _write_openmetrics(fold, settings, wanted)
        else:
            compared: Comparisons | None = None
            if other is not None:
                compared = compare_periods(fold, other)
            elif wanted.compare:
                compared = compare_predictors(fold, replay.models)
            write_output(_render(fold, replay, compared, wanted), wanted.output)
        if store is not None:
            as_of = format_time(selection.as_of) if selection.as_of is not None else None
            await store.write(to_store(replay, as_of, format_time(time.time_ns())))
    finally:
        if store is not None:
            await store.close()
    return fold.shortfall(replay)


async def report_stored(
    settings: Settings, selection: Selection, by: str, style: str, output: Path | None
) -> None:
    """Write the stored results of the selection's names, and of its period where it has one; ``by``
    empty = both bases."""
    if style not in STORED_FORMATS:
        raise SettingsError(f"stored results have no {style}: use {', '.join(STORED_FORMATS)}")
    store = ResultStore(settings)
    try:
        results = await store.read(by, selection.namespace, selection.deployment)
        if not results and (others := await store.read(by, "", "")):
            names = {(each.result.namespace, each.result.deployment) for each in others}
            raise ProcessorError(f"of the stored results, {no_match(selection, names)}")
    finally:
        await store.close()
    for name, time_ns in (("from_", selection.start), ("to", selection.end)):
        if time_ns is not None:
            wanted = format_time(time_ns)
            results = [each for each in results if getattr(each, name) == wanted]
    write_output(render_stored(results, style), output)


def _other_period(selection: Selection, wanted: Wanted) -> Selection | None:
    if not wanted.compare:
        return None
    if wanted.style not in _COMPARING:
        raise SettingsError(
            f"--compare has no place in {wanted.style}: use --format {', '.join(_COMPARING)}"
        )
    if wanted.compare == PREDICTOR:
        return None
    try:
        return parse_period(wanted.compare, selection.by, time.time_ns())
    except ValueError as error:
        raise SettingsError(f"--compare {error}") from None


def _render(
    fold: ReplayFold, replay: Replay, compared: Comparisons | None, wanted: Wanted
) -> Iterator[str]:
    if wanted.style == "json":
        content = msgspec.json.encode(replay)
        if compared is not None:
            fields = {name: getattr(replay, name) for name in Replay.__struct_fields__}
            content = msgspec.json.encode(_Compared(**fields, **msgspec.structs.asdict(compared)))
        return iter([msgspec.json.format(content, indent=1).decode() + "\n"])
    if wanted.style == "csv":
        return render_csv(replay)
    if wanted.style == "text":
        return render_text(Report(replay, {}, compared))
    courses = ModelTimelines(fold.selection)
    for request in fold.requests():
        courses.add(request)
    return render_html(Report(replay, courses.result(), compared))


def _write_openmetrics(fold: ReplayFold, settings: Settings, wanted: Wanted) -> None:
    start, end = fold.selection.start, fold.selection.end
    timeline = Timeline(wanted.step, end)
    for request in fold.requests():
        timeline.add(request)
    folder = wanted.output if wanted.output is not None and wanted.output.is_dir() else None
    span = span_of(timeline, start, end)
    if span is None:
        if folder is None:
            write_output(["# EOF\n"], wanted.output)
        return
    check_span(span, wanted.step, time.time(), wanted.recent, folder is not None)
    backfill = Backfill(timeline, settings, wanted.bases or settings.metrics_by)
    if folder is None:
        write_output(backfill.text(span), wanted.output)
        return
    for block in blocks(span, wanted.step):
        write_output(backfill.text(block), folder / block_name(block, wanted.step))


def prepare_folder(output: Path) -> None:
    """Make the folder of an output that ends with a slash."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProcessorError(f"{output} can't be made: {error.strerror or error}") from None
