"""The command line."""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop
from click.core import ParameterSource

from processor.dead_letters_cli import dead_letters
from processor.errors import ProcessorError, SettingsError
from processor.logs import set_up_logs
from processor.models_file import read_models_file
from processor.options import Time
from processor.replay.fold import Selection
from processor.replay.output import FORMATS, render, write_output
from processor.replay.send import Sent, send_http, send_kafka
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings
from processor.stream.connection import client_options

if TYPE_CHECKING:
    from processor.correction import Put


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="feedback-metrics-processor")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """How good deployed models really are, live and exactly, as ground truth comes in.

    Settings are environment variables PROCESSOR_*; 'processor run --help' lists them.
    """
    context.obj = debug


def _settings_help() -> str:
    lines = []
    for item in fields(Settings):
        name = f"PROCESSOR_{item.name.upper()}"
        default = item.metadata["default"] or "none"
        lines.append(f"  {name} ({default})\n      {item.metadata['meaning']}")
    return "\b\n" + "\n".join(lines)


@cli.command(
    epilog="\b\nExamples:\n"
    "  processor run                                            embedded, no server needed\n"
    "  PROCESSOR_BROKER=kafka://kafka:9092 processor run        on your Kafka\n\n"
    "\b\nSettings (default), each an environment variable:\n\n" + _settings_help()
)
def run() -> None:
    """Run the service: read events, join them, publish metrics. No broker set = embedded."""
    from processor.service import Service, run_service  # Faust and all: only where it is needed

    settings = Settings.from_env()
    set_up_logs(settings.log_level, settings.log_format)

    def started(service: Service) -> None:
        click.echo(f"page and metrics: {service.metrics_url}  events in: {service.ingress_url}")

    _run(lambda stop: run_service(settings, stop, started))


@cli.command(epilog="\b\nExamples:\n  processor demo\n  processor demo --once")
@click.option("--once", is_flag=True, help="Stop when the numbers have settled.")
def demo(once: bool) -> None:
    """Play an experiment of 100 predictions and 63 feedbacks into a fresh embedded service."""
    from processor.demo import run_demo

    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format)
    if once:
        free = {"PROCESSOR_METRICS_PORT": "0", "PROCESSOR_INGRESS_PORT": "0"}
        settings = Settings.from_env({**free, **os.environ})
    _run(lambda stop: run_demo(settings, once, time.time_ns(), stop, click.echo))


@cli.command(
    epilog="\b\nExamples:\n"
    "  processor replay events.ndjson\n"
    "  processor replay events.ndjson --by feedback --from 2026-11-20T00:00:00Z\n"
    "  zcat events.ndjson.gz | processor replay - --format text\n"
    "  processor replay sqlite:data/events.sqlite --output result.json\n"
    "  processor replay http://elasticsearch:9200 --index 'inference-log-seldon-*'\n"
    "  processor replay kafka:seldon-logs feedback.ndjson.gz    several sources add up\n"
    "  processor replay missed.ndjson --into kafka              a correction of a live app's past"
)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--from", "start", type=Time(), help="First time that counts (inclusive).")
@click.option("--to", "end", type=Time(), help="End of the time that counts (exclusive).")
@click.option("--as-of", type=Time(), help="The last time that is known of.")
@click.option(
    "--by",
    type=click.Choice(["request", "feedback"]),
    default="request",
    show_default=True,
    help="Whose time counts: that of the prediction or of the feedback.",
)
@click.option("--models", type=click.Path(path_type=Path), help="Models file (PROCESSOR_MODELS).")
@click.option(
    "--index", default="", help="Index pattern of an Elasticsearch source (PROCESSOR_INDEX)."
)
@click.option("--namespace", default="", help="Only this namespace.")
@click.option("--deployment", default="", help="Only this deployment.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="json", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="File to write; default stdout.")
@click.option(
    "--strict", is_flag=True, help="Stop at a line that is no event, or a file that is cut off."
)
@click.option(
    "--into",
    type=click.Choice(["kafka"]),
    help="Put the events on the log of the app PROCESSOR_APP_ID instead: what it has counts once.",
)
@click.pass_context
def replay(
    context: click.Context,
    /,
    sources: tuple[str, ...],
    start: int | None,
    end: int | None,
    as_of: int | None,
    by: str,
    models: Path | None,
    index: str,
    namespace: str,
    deployment: str,
    style: str,
    output: Path | None,
    strict: bool,
    into: str | None,
) -> None:
    """Fold a stored period without Kafka: the same numbers as the live run.

    SOURCE is an events file (*.ndjson, plain or compressed by gzip or zstd, or - for standard
    input), sqlite:PATH, kafka:TOPIC (all of a source topic on PROCESSOR_BROKER), kserve:FOLDER (what
    KServe's logger wrote to a bucket, as JSON), or Elasticsearch: http(s)://host:port, or
    elasticsearch: for that of PROCESSOR_ARCHIVE.

    A line that is no event is named, counted as a dead letter, and reading goes on.
    """
    if start is not None and end is not None and start >= end:
        raise click.UsageError("--from must be before --to")
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format)
    rules = read_models_file(models or settings.models)
    selection = Selection(by, start, end, as_of, namespace, deployment)
    access = Access(settings, index, strict, _kafka_options(settings))
    _prepare_long_work()
    if into:
        for name in ("start", "end", "by", "style", "output"):
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    "--into kafka shows no numbers: leave --from, --to, --by, "
                    "--format and --output out"
                )
        from processor.correction import put_on_log

        _say_put(asyncio.run(put_on_log(sources, rules, selection, access)), settings)
        return
    fold = asyncio.run(fold_sources(sources, rules, selection, access))
    result = fold.result()
    if not result.models:
        click.echo(f"processor: {fold.why_empty()}", err=True)
    write_output(render(result, style), output)


def _say_put(put: "Put", settings: Settings) -> None:
    click.echo(f"{put.read:,} read, {put.put:,} observations put on the log of {settings.app_id}")
    if put.old:
        click.echo(
            f"{put.old:,} of them are older than PROCESSOR_HORIZON: they count only where their "
            "request is still in memory, since what has left memory was counted before"
        )
    if put.not_understood:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(put.not_understood.items()))
        click.echo(f"not understood, and not put there: {reasons}")


def _kafka_options(settings: Settings) -> dict[str, Any]:
    """aiokafka's options for the broker of the settings, but for its address."""
    if not settings.broker:
        return {}
    options = client_options(settings, settings.broker)
    options.pop("bootstrap_servers")
    return options


def _prepare_long_work() -> None:
    _collect_rarely()

    # The loop's own way with Ctrl-C waits for the next await, which a read from a pipe never comes to.
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _collect_rarely() -> None:
    # A batch of records is some 200,000 objects that go as they came, by reference count: walking
    # them for cycles cost 10 % of the time. Cycles are collected still, only later.
    gc.set_threshold(500_000, 20, 100)


@cli.command(
    epilog="\b\nExamples:\n"
    "  processor send events.ndjson\n"
    "  processor send events.ndjson --to http://host:8080/ --rate 100\n"
    "  processor send events.ndjson --to kafka:my-topic --loop"
)
@click.argument("file")
@click.option("--to", "target", default="", help="http://host:port/ or kafka:TOPIC.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second.")
@click.option("--loop", is_flag=True, help="Again and again, until Ctrl-C.")
def send(file: str, target: str, rate: float | None, loop: bool) -> None:
    """Play an events file to an ingress (default: the local one) or a Kafka topic."""
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format)
    target = target or f"http://127.0.0.1:{settings.ingress_port}/"

    async def play(stop: asyncio.Event) -> Sent:
        if target.startswith("kafka:"):
            if not settings.broker:
                raise SettingsError("PROCESSOR_BROKER is empty: set it to kafka://host:port")
            options = _kafka_options(settings)
            topic = target.removeprefix("kafka:")
            return await send_kafka(file, settings.broker, topic, rate, loop, options, stop=stop)
        if not target.startswith(("http://", "https://")):
            raise click.BadParameter(
                f"{target!r} is neither http://... nor kafka:TOPIC", param_hint="--to"
            )
        return await send_http(
            file, target, rate, loop, token=str(settings.ingress_token), stop=stop
        )

    sent: Sent = _run(play)
    refused = ", ".join(f"{n} {reason}" for reason, n in sent.refused.items()) or "none"
    click.echo(
        f"{sent.accepted} of {sent.read} accepted in {sent.seconds:.1f} s; refused: {refused}"
    )
    if sent.refused:
        raise click.exceptions.Exit(1)


@cli.command()
def check() -> None:
    """Try what the service needs: settings, broker, topics, archive; one line each."""
    from processor.check import check as run_check

    settings = Settings.from_env()
    set_up_logs("CRITICAL", settings.log_format, libraries="CRITICAL")

    async def findings() -> bool:
        well = True
        async for subject, ok, detail in run_check(settings):
            click.echo(f"{'ok   ' if ok else 'WRONG'}  {subject}: {detail}")
            well = well and ok
        return well

    if not asyncio.run(findings()):
        raise click.exceptions.Exit(1)


cli.add_command(dead_letters)


def _run(work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> Any:
    """Run with an event that SIGTERM and Ctrl-C set; a second one ends at once."""

    async def main() -> Any:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        return await work(stop)

    _collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def main() -> None:
    """The console script: exit code 2 for usage and settings, 1 for any other failure."""
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ProcessorError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"processor: {error}", err=True)
        sys.exit(2 if isinstance(error, SettingsError) else 1)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        click.echo(
            f"processor: {type(error).__name__}: {error} (processor --debug shows where)", err=True
        )
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
