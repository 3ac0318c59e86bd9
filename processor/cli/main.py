"""The command line `processor`: its commands, and the exit codes of the program."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import fields
from typing import Any

import click
import uvloop

from processor.cli.dead_letters import dead_letters
from processor.cli.options import Commands, collect_rarely, exit_after, interrupt_at_once
from processor.cli.replay import replay, report
from processor.errors import EventsFileError, ProcessorError, SettingsError, described
from processor.kafka.clients import kafka_options
from processor.logs import set_up_logs
from processor.replay.send import Sent, local_ingress, send_http, send_kafka
from processor.settings import HTTP, Settings
from processor.tls import client_context

#: The exit code of a command that was stopped before its end.
_INTERRUPTED = 130
#: Seconds within which `send` ends when it is stopped, whatever its client waits for.
_MAX_SEND_END = 0.9
#: Seconds between checks whether the service is ready.
_READY_CHECK_EVERY = 0.1


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="feedback-metrics-processor")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Live, exact quality metrics for deployed models, as ground truth arrives.

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
    """Run the service: read events, join them, publish metrics. Without a broker it is embedded."""
    from processor.service.service import (  # imports Faust, which other commands do without
        Service,
        run_service,
    )

    settings = Settings.from_env()
    set_up_logs(settings.log_level, settings.log_format)

    announcing: list[asyncio.Task[None]] = []

    def started(service: Service) -> None:
        click.echo(f"events in: {service.view.ingress_url}")
        announcing.append(asyncio.create_task(announce(service)))

    async def announce(service: Service) -> None:
        while not service.health.ready().ready:  # noqa: ASYNC110  # many parts decide it
            await asyncio.sleep(_READY_CHECK_EVERY)
        click.echo(f"ready: {service.metrics_url}")

    _run(lambda stop: run_service(settings, stop, started))


@cli.command(epilog="\b\nExamples:\n  processor demo\n  processor demo --once")
@click.option("--once", is_flag=True, help="Stop when the results have settled.")
def demo(once: bool) -> None:
    """Play an experiment of 100 predictions and 63 feedbacks into a fresh embedded service."""
    from processor.service.demo import run_demo

    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format)
    if once:
        free = {"PROCESSOR_METRICS_PORT": "0", "PROCESSOR_INGRESS_PORT": "0"}
        settings = Settings.from_env({**free, **os.environ})
    _run(lambda stop: run_demo(settings, once, time.time_ns(), stop, click.echo))


@cli.command(
    epilog="\b\nExamples:\n"
    "  processor send events.ndjson\n"
    "  processor send events.ndjson --to http://host:8080/ --rate 100\n"
    "  processor send events.ndjson --to kafka:my-topic --loop"
)
@click.argument("file")
@click.option("--to", "target", default="", help="http(s)://host:port/ or kafka:TOPIC.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second.")
@click.option("--loop", is_flag=True, help="Start again at the end, until Ctrl-C.")
def send(file: str, target: str, rate: float | None, loop: bool) -> None:
    """Play an events file to an ingress (default: the local one) or a Kafka topic.

    For an ingress with TLS it presents the certificate PROCESSOR_INGRESS_CERT (with _KEY) and trusts
    the authority PROCESSOR_INGRESS_CA.
    """
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format, libraries="CRITICAL")
    target = target or local_ingress(settings)
    stopped = False

    async def play(stop: asyncio.Event) -> Sent:
        sent = await play_to(target, stop)
        nonlocal stopped
        stopped = stop.is_set()
        return sent

    async def play_to(target: str, stop: asyncio.Event) -> Sent:
        if target.startswith("kafka:"):
            if not settings.broker:
                raise SettingsError("PROCESSOR_BROKER is empty: set it to kafka://host:port")
            options = kafka_options(settings)
            topic = target.removeprefix("kafka:")
            return await send_kafka(file, settings.broker, topic, rate, loop, options, stop=stop)
        if not target.startswith(HTTP):
            raise click.BadParameter(
                f"{target!r} is neither http(s)://... nor kafka:TOPIC", param_hint="--to"
            )
        tls = None
        if target.startswith("https:"):
            tls = client_context(
                *("PROCESSOR_INGRESS", settings.ingress_ca),
                *(settings.ingress_cert, settings.ingress_key),
            )
        token = str(settings.ingress_token)
        return await send_http(file, target, rate, loop, token=token, tls=tls, stop=stop)

    sent: Sent = _run(play, within=_MAX_SEND_END)
    refused = ", ".join(f"{n} {reason}" for reason, n in sent.refused.items()) or "none"
    click.echo(
        f"{'stopped: ' if stopped else ''}{sent.accepted} of {sent.read} accepted in "
        f"{sent.seconds:.1f} s; refused: {refused}"
    )
    if stopped and not loop:
        sys.stdout.flush()
        # A thread that still waits for standard input would make Python abort at its regular exit.
        os._exit(_INTERRUPTED)
    if not (sent.read or stopped):
        raise EventsFileError(f"{file} holds no events")
    if sent.refused:
        raise click.exceptions.Exit(1)


@cli.command()
def check() -> None:
    """Test what the service needs, one line each: settings, broker, topics, archive."""
    from processor.service.check import check as run_check

    settings = Settings.from_env()
    set_up_logs("CRITICAL", settings.log_format, libraries="CRITICAL")
    interrupt_at_once()

    async def findings() -> bool:
        all_ok = True
        async for subject, ok, detail in run_check(settings):
            click.echo(f"{'ok   ' if ok else 'WRONG'}  {subject}: {detail}")
            all_ok = all_ok and ok
        return all_ok

    if not asyncio.run(findings()):
        raise click.exceptions.Exit(1)


cli.add_command(replay)
cli.add_command(report)
cli.add_command(dead_letters)


def _run(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]], within: float | None = None
) -> Any:
    """Run ``work`` with an event that SIGTERM and Ctrl-C set, and return its result.

    A second signal ends the process at once with code 130, and so does the end of the ``within``
    seconds that the work may take to stop after the first one.
    """

    async def main() -> Any:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(_INTERRUPTED)
            stop.set()
            if within is not None:
                exit_after(within)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        return await work(stop)

    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _reserve_standard_files() -> None:
    """Open the null device for each standard stream that is closed.

    Otherwise a file that is opened later gets the stream's number: printed text would go to that file,
    and libuv aborts. ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` stay None.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main() -> None:
    """Run the command line, and exit: 2 for usage and settings, 130 if interrupted, 1 for others."""
    _reserve_standard_files()
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(_INTERRUPTED)
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
        click.echo(f"processor: {described(error)} (processor --debug shows where)", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
