"""The commands ``processor replay`` and ``processor report``."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from processor.cli.options import collect_rarely, interrupt_at_once
from processor.cli.replay_options import replay_options
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND
from processor.logs import set_up_logs
from processor.models_file import read_models_file
from processor.replay.fold import NOTHING_READ
from processor.replay.selection import Selection
from processor.replay.sources import Access
from processor.replay.tables.columns import Columns
from processor.replay.tables.reading import resolve
from processor.report.command import (
    OutputOptions,
    prepare_folder,
    report_sources,
    report_stored,
)
from processor.report.output import check_output
from processor.settings import Settings

if TYPE_CHECKING:
    from processor.service.correction import Put


@click.command(
    epilog="\b\nExamples:\n"
    "  processor replay events.ndjson\n"
    "  processor replay events.ndjson --by feedback --from 2026-11-20\n"
    "  zcat events.ndjson.gz | processor replay - --format text\n"
    "  processor replay sqlite:data/events.sqlite --output result.json\n"
    "  processor replay http://elasticsearch:9200 --index 'inference-log-seldon-*'\n"
    "  processor replay elasticsearch: --resume replay.part     continues where Ctrl-C stopped it\n"
    "  processor replay kafka:seldon-logs feedback.ndjson.gz    several sources add up\n"
    "  processor replay events.ndjson --format openmetrics --output backfill/\n"
    "  processor replay missed.ndjson --into kafka              corrects a live app's past"
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@replay_options("json")
@click.option(
    "--into",
    type=click.Choice(["kafka"]),
    help="Put the events on the log of the app PROCESSOR_APP_ID instead; events that it has are "
    "counted once.",
)
@click.pass_context
def replay(
    context: click.Context, /, sources: tuple[str, ...], into: str | None, **options: Any
) -> None:
    """Compute the results of a stored period without Kafka; they are equal to those of a live run.

    SOURCE is an events file (*.ndjson, plain or compressed by gzip or zstd, or - for standard
    input), sqlite:PATH, kafka:TOPIC (a source topic on PROCESSOR_BROKER, read to its end), kserve:FOLDER
    (the JSON files of KServe's logger), or Elasticsearch: http(s)://host:port, or elasticsearch: for
    that of PROCESSOR_ARCHIVE. It can be a table too: CSV, Parquet or JSON lines with the columns
    request_id, time, prediction or score_CLASS, actual, feedback_time, deployment, namespace, predictor,
    model, reward, or other columns named by the options below.

    A line that is not an event is reported and counted as a dead letter; reading continues.
    """
    if into:
        _put_on_log(context, sources, options)
    else:
        _report(context, sources, **options)


@click.command(
    epilog="\b\nExamples:\n"
    "  processor report events.ndjson\n"
    "  processor report events.ndjson --format html --output report.html\n"
    "  processor report predictions.csv --predicted y_pred --actual y_true\n"
    "  processor report prices.csv --predicted y_pred --actual y_true --task regression\n"
    "  processor report events.ndjson --compare predictor\n"
    "  processor report events.ndjson --from 2026-11-21T00:00:00Z \\\n"
    "      --compare /2026-11-21T00:00:00Z                  from that day on, and the time before\n"
    "  processor report elasticsearch: --last 24h --store\n"
    "  processor report --stored --deployment sklearn"
)
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@replay_options("text")
@click.option(
    "--compare",
    default="",
    metavar="predictor|FROM/TO",
    help="Compare the predictors of each deployment, or this period with another one.",
)
@click.option("--stored", is_flag=True, help="Show stored results instead of reading a SOURCE.")
@click.pass_context
def report(
    context: click.Context,
    /,
    sources: tuple[str, ...],
    compare: str,
    stored: bool,
    **options: Any,
) -> None:
    """Report the quality of models in a stored period: as text, JSON, CSV, or HTML with plots.

    SOURCE is the same as for 'processor replay', and can be a table of predictions and true labels
    (CSV, Parquet, JSON lines). If its columns are unknown, the error proposes the options to use.
    """
    if not stored:
        if not sources:
            raise click.UsageError("name a SOURCE, or --stored for results that were stored")
        _report(context, sources, compare=compare, **options)
        return
    for name in (
        "compare", "store", "as_of", "nowcast", "models", "task", "index", "step", "recent", "strict",
        "resume", "predicted", "actual", "score", "id_column", "time_column", "feedback_time",
    ):  # fmt: skip
        if sources or _is_given(context, name):
            given = "SOURCE" if sources else f"--{name.removesuffix('_column').replace('_', '-')}"
            raise click.UsageError(f"{given} does not apply with --stored: leave it out")
    settings = _settings()
    selection, _ = _selection(options, ())
    by = options["by"] if _is_given(context, "by") else ""
    output = _output(options)
    asyncio.run(report_stored(settings, selection, by, options["format"], output))


def _report(
    context: click.Context, sources: tuple[str, ...], compare: str = "", **options: Any
) -> None:
    selection, columns = _selection(options, sources)
    output = _output(options)
    for name in ("step", "recent"):
        if options["format"] != "openmetrics" and _is_given(context, name):
            raise click.UsageError(f"--{name} applies to --format openmetrics only: leave it out")
    if options["nowcast"]:
        for name, value in (("by", "feedback"), ("format", "openmetrics")):
            if options[name] == value:
                raise click.UsageError(
                    f"--nowcast does not apply to --{name} {value}: leave one out"
                )
    settings = _settings()
    rules = _rules(settings, options)
    output_options = OutputOptions(
        options["format"],
        output,
        options["step"],
        options["recent"],
        (options["by"],) if _is_given(context, "by") else (),
        compare,
        options["store"],
        options["resume"],
        options["nowcast"],
    )
    access = _access(settings, options, columns)
    _prepare_long_work()
    shortfall = asyncio.run(report_sources(sources, rules, selection, access, output_options))
    if shortfall is not None:
        click.echo(f"processor: {shortfall.message}", err=True)
        if shortfall.is_failure:
            raise click.exceptions.Exit(1)


def _output(options: dict[str, Any]) -> Path | None:
    """The path to write, None for standard output. `ProcessorError` if it can't be written."""
    output = options["output"]
    if not output:
        return None
    path = Path(output)
    if options["format"] == "openmetrics" and output.endswith("/"):
        prepare_folder(path)
    elif options["format"] != "openmetrics" or not path.is_dir():
        check_output(path)
    return path


def _put_on_log(context: click.Context, sources: tuple[str, ...], options: dict[str, Any]) -> None:
    for name in (
        "start", "end", "last", "by", "format", "output", "step", "recent", "store", "resume", "nowcast",
    ):  # fmt: skip
        if _is_given(context, name):
            raise click.UsageError(
                "--into kafka prints no numbers: leave --from, --to, --last, --by, --format, "
                "--output, --step, --recent, --store, --resume and --nowcast out"
            )
    from processor.service.correction import put_on_log

    settings = _settings()
    rules = _rules(settings, options)
    selection, columns = _selection(options, sources)
    access = _access(settings, options, columns)
    _prepare_long_work()
    _report_put(asyncio.run(put_on_log(sources, rules, selection, access)), settings)


def _rules(settings: Settings, options: dict[str, Any]) -> ModelRules:
    rules = read_models_file(options["models"] or settings.models, settings.custom_statistics)
    return rules.with_task(options["task"])


def _access(settings: Settings, options: dict[str, Any], columns: Columns) -> Access:
    kafka: dict[str, Any] = {}
    if settings.broker:
        from processor.kafka.clients import kafka_options

        kafka = kafka_options(settings)
    return Access(settings, options["index"], options["strict"], kafka, columns)


def _selection(options: dict[str, Any], sources: Sequence[str]) -> tuple[Selection, Columns]:
    start, end = options["start"], options["end"]
    if options["last"] is not None:
        if start is not None or end is not None:
            raise click.UsageError("--last takes the place of --from and --to: leave these out")
        end = time.time_ns()
        start = end - options["last"] * SECOND
    if start is not None and end is not None and start >= end:
        raise click.UsageError("--from must be before --to")
    columns = Columns(
        options["predicted"],
        options["actual"],
        options["score"],
        options["id_column"],
        options["time_column"],
        options["feedback_time"],
    )
    columns, deployment = resolve(sources, columns, options["deployment"])
    names = (options["namespace"], deployment)
    return Selection(options["by"], start, end, options["as_of"], *names), columns


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _settings() -> Settings:
    settings = Settings.from_env()
    # The log lines of client libraries would repeat in their terms what the error says.
    set_up_logs("WARNING", settings.log_format, libraries="CRITICAL")
    return settings


def _report_put(put: "Put", settings: Settings) -> None:
    click.echo(f"{put.read:,} read, {put.put:,} observations put on the log of {settings.app_id}")
    if put.old:
        click.echo(
            f"{put.old:,} of them are older than PROCESSOR_HORIZON: they count only where their "
            "request is still in memory, since what has left memory was counted before"
        )
    if put.not_understood:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(put.not_understood.items()))
        click.echo(f"not understood, and not put there: {reasons}")
    for damage in put.damage:
        click.echo(f"processor: {damage}", err=True)
    if not put.read and not put.damage:
        click.echo(f"processor: {NOTHING_READ}", err=True)
    if put.damage or put.not_understood.total() >= put.read:
        raise click.exceptions.Exit(1)


def _prepare_long_work() -> None:
    collect_rarely()
    interrupt_at_once()
