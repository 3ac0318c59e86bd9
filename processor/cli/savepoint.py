"""The command ``processor savepoint``."""

import asyncio

import click
import msgspec

from processor.cli.options import Commands, collect_rarely, interrupt_at_once
from processor.logs import set_up_logs
from processor.savepoint.commands import load_savepoint, save_savepoint, show_savepoint
from processor.savepoint.summary import done_text, summary_text
from processor.settings import Settings


@click.group("savepoint", cls=Commands)
def savepoint() -> None:
    """Save the state of an app into a file, and load it into a new app.

    The new app can have another number of partitions, another horizon or a later release: it counts on
    as if it were the old one. Needs the settings of the service.
    """


@savepoint.command(
    epilog="\b\nExamples:\n"
    "  processor savepoint save state.savepoint\n"
    "  processor savepoint save - | ssh backup 'cat > state.savepoint'"
)
@click.argument("path")
def save(path: str) -> None:
    """Write everything that an app knows to PATH (-: standard output), whether it runs or not.

    Its workers are not disturbed.
    """
    settings = _settings()
    click.echo(done_text("saved", asyncio.run(save_savepoint(settings, path))), err=path == "-")


@savepoint.command(
    epilog="\b\nExamples:\n"
    "  PROCESSOR_APP_ID=new PROCESSOR_PARTITIONS=16 processor savepoint load state.savepoint"
)
@click.argument("path")
@click.option(
    "--without-source",
    is_flag=True,
    help="Read the source topics from their starts, not from where the savepoint was taken.",
)
def load(path: str, without_source: bool) -> None:
    """Load PATH (-: standard input) into a new app, before its workers start.

    The new app is PROCESSOR_APP_ID, which must not have a state. A load that was interrupted can be
    repeated.
    """
    settings = _settings()
    click.echo(done_text("loaded", asyncio.run(load_savepoint(settings, path, without_source))))


@savepoint.command(epilog="\b\nExamples:\n  processor savepoint show state.savepoint --format json")
@click.argument("path")
@click.option(
    "--format", "style", type=click.Choice(("text", "json")), default="text", show_default=True
)
def show(path: str, style: str) -> None:
    """Say what is in PATH: app, time, requests, models and counts; checks the whole file."""
    interrupt_at_once()
    summary = show_savepoint(path)
    click.echo(msgspec.json.encode(summary) if style == "json" else summary_text(summary))


def _settings() -> Settings:
    settings = Settings.from_env()
    set_up_logs("WARNING", settings.log_format, libraries="CRITICAL")
    interrupt_at_once()
    collect_rarely()
    return settings
