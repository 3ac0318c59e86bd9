"""The command line `processor`: its commands, and the exit codes of the program."""

import asyncio
import os
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING

import click
from click.exceptions import NoArgsIsHelpError

from processor.cli.options import INTERRUPTED, Commands, interrupt_at_once, run_until_stopped
from processor.errors import ProcessorError, SettingsError, described
from processor.logs import set_up_logs
from processor.settings import Settings

if TYPE_CHECKING:
    from processor.service.service import Service

#: Seconds between checks whether the service is ready.
_READY_CHECK_EVERY = 0.1


@click.group(
    cls=Commands,
    modules={
        "dead-letters": "processor.cli.dead_letters:dead_letters",
        "replay": "processor.cli.replay:replay",
        "report": "processor.cli.replay:report",
        "savepoint": "processor.cli.savepoint:savepoint",
        "send": "processor.cli.send:send",
        "topics": "processor.cli.topics:topics",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
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
    settings = Settings.from_env()
    set_up_logs(settings.log_level, settings.log_format)
    # Imports Faust, which other commands do without, and which a wrong setting need not wait for.
    from processor.service.service import run_service

    announcing: list[asyncio.Task[None]] = []

    def started(service: "Service") -> None:
        click.echo(f"events in: {service.view.ingress_url}")
        announcing.append(asyncio.create_task(announce(service)))

    async def announce(service: "Service") -> None:
        while not service.health.ready().ready:  # noqa: ASYNC110  # many parts decide it
            await asyncio.sleep(_READY_CHECK_EVERY)
        click.echo(f"ready: {service.metrics_url}")

    run_until_stopped(lambda stop: run_service(settings, stop, started))


@cli.command(epilog="\b\nExamples:\n  processor demo\n  processor demo --once")
@click.option("--once", is_flag=True, help="Stop when the results have settled.")
def demo(once: bool) -> None:
    """Play an experiment of 100 predictions and 63 feedbacks into a fresh embedded service."""
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format)
    from processor.service.demo import run_demo

    if once:
        free = {"PROCESSOR_METRICS_PORT": "0", "PROCESSOR_INGRESS_PORT": "0"}
        settings = Settings.from_env({**free, **os.environ})
    run_until_stopped(lambda stop: run_demo(settings, once, time.time_ns(), stop, click.echo))


@cli.command()
def check() -> None:
    """Test what the service needs, one line each: settings, broker, topics, archive."""
    settings = Settings.from_env()
    set_up_logs("CRITICAL", settings.log_format, libraries="CRITICAL")
    from processor.service.check import check as run_check

    interrupt_at_once()

    async def findings() -> bool:
        all_ok = True
        async for finding in run_check(settings):
            click.echo(f"{finding.verdict:<6} {finding.subject}: {finding.detail}")
            all_ok = all_ok and finding.verdict != "WRONG"
        return all_ok

    if not asyncio.run(findings()):
        raise click.exceptions.Exit(1)


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


def _one_line(error: click.UsageError) -> str:
    """The message of a wrong option or argument, which click would spread over four lines."""
    command = error.ctx.command_path if error.ctx is not None else "processor"
    message = " ".join(error.format_message().split())
    return f"processor: {message} ({command} --help shows the options)"


def main() -> None:
    """Run the command line, and exit: 2 for usage and settings, 130 if interrupted, 1 for others."""
    _reserve_standard_files()
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and not isinstance(error, NoArgsIsHelpError):
            click.echo(_one_line(error), err=True)
        else:
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
