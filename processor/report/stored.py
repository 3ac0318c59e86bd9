"""Render results that ``processor report --store`` has kept in Elasticsearch."""

from collections.abc import Iterator, Sequence

import msgspec

from processor.archive.stored_result import StoredResult
from processor.domain.results import ModelResult, Replay
from processor.domain.timestamps import parse_time
from processor.report.compare import model_key, period_title
from processor.report.data import ModelTimeline
from processor.report.formats.csv_rows import COLUMNS, Period, line, model_rows
from processor.report.formats.html import heading, page
from processor.report.formats.markup import Markup, tag
from processor.report.formats.model_card import model_card
from processor.report.formats.plots import amount
from processor.report.formats.text import printable, ratio, render_model, table

FORMATS = ("text", "json", "csv", "html")


class _ListedResult(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    from_: str | None
    to: str | None
    by: str
    as_of: str | None
    stored_at: str
    models: tuple[ModelResult, ...]


def to_store(replay: Replay, as_of: str | None, now: str) -> Iterator[StoredResult]:
    """The results of a replay, one for each model, to store; ``as_of`` and ``now`` are RFC 3339."""
    for model in replay.models:
        yield StoredResult(replay.from_, replay.to, replay.by, as_of, now, model)


def render_stored(results: Sequence[StoredResult], format: str) -> Iterator[str]:
    """The results in one of `FORMATS`, in pieces. The text has a line for each result, or the whole
    result if there is only one."""
    if format == "json":
        listed = [
            _ListedResult(each.from_, each.to, each.by, each.as_of, each.stored_at, (each.result,))
            for each in results
        ]
        content = msgspec.json.encode({"results": listed})
        yield msgspec.json.format(content, indent=1).decode() + "\n"
    elif format == "csv":
        yield line(COLUMNS)
        yield from model_rows(
            Period(each.from_, each.to, each.by, (each.result,)) for each in results
        )
    elif format == "html":
        count = f"{len(results):,} " + ("result" if len(results) == 1 else "results")
        yield from page([heading("Stored results", count)], _cards(results), Markup())
    else:
        yield from _text(results)


def _text(results: Sequence[StoredResult]) -> Iterator[str]:
    if len(results) == 1:
        yield f"{_title(results[0])}, stored {results[0].stored_at}\n\n"
        yield render_model(results[0].result)
        return
    rows = [["model", "by", "from", "to", "accuracy", "low", "high", "judged", "coverage"]]
    rows += [
        [
            printable("/".join(model_key(each.result)), 80), each.by, each.from_ or "-", each.to or "-",
            *_score(each.result), f"{each.result.judged:,}", ratio(each.result.coverage),
        ]
        for each in results
    ]  # fmt: skip
    yield "\n".join(table(rows) if results else ["no results stored"]) + "\n"


def _score(model: ModelResult) -> list[str]:
    """The score that the model's task is judged by, with its interval; an MAE is named."""
    if model.accuracy is None and model.mae is not None:
        return [f"MAE {amount(model.mae)}", amount(model.mae_low), amount(model.mae_high)]
    return [ratio(each) for each in (model.accuracy, model.accuracy_low, model.accuracy_high)]


def _cards(results: Sequence[StoredResult]) -> Iterator[Markup]:
    for i, each in enumerate(results, 1):
        yield tag("p", f"{_title(each)}, stored {each.stored_at}", class_="quiet above")
        yield model_card(each.result, ModelTimeline(), f"m{i}")


def _title(stored: StoredResult) -> str:
    times = [parse_time(t) if t is not None else None for t in (stored.from_, stored.to)]
    known = f", as known on {stored.as_of}" if stored.as_of else ""
    return f"{period_title(*times)}, by time of {stored.by}{known}"
