"""The command ``processor dead-letters``."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from processor.cli.options import Commands, Time, interrupt_at_once
from processor.dead_letters.listing import Selection, find_dead_letter, list_dead_letters
from processor.dead_letters.retry import retry_dead_letters
from processor.dead_letters.text import dead_letter_text, listing_text, outcomes_text
from processor.domain.events.raw_event import REASONS
from processor.logs import set_up_logs
from processor.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

#: The default number of characters of a body that are shown.
_MAX_SHOWN = 4096


@click.group("dead-letters", cls=Commands)
def dead_letters() -> None:
    """List, show and retry the events that could not be read, with the reason.

    Needs the settings of the service. With a broker these are the records of the topic
    <app>-dead-letters; in the embedded mode, the events of its archive that can't be understood.
    """


def _selecting(command: F) -> F:
    for option in (
        click.option("--to", "end", type=Time(), help="Kept before this time."),
        click.option(
            "--from", "--since", "start", type=Time(), default=0, help="Kept at this time or later."
        ),
        click.option(
            "--reason",
            "reasons",
            multiple=True,
            type=click.Choice(REASONS),
            help="Only this reason; can be given several times.",
        ),
    ):
        command = option(command)
    return command


_format = click.option(
    "--format", "style", type=click.Choice(("text", "json")), default="text", show_default=True
)


@dead_letters.command(
    "list",
    epilog="\b\nExamples:\n"
    "  processor dead-letters list\n"
    "  processor dead-letters list --reason bad_json --since 2026-11-20T00:00:00Z\n"
    "  processor dead-letters list --limit 10000 --format json",
)
@_selecting
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@_format
def list_command(
    reasons: tuple[str, ...], start: int, end: int | None, limit: int, style: str
) -> None:
    """List the newest dead letters, the oldest of them first, and count all by reason."""
    settings = _settings()
    selection = Selection(frozenset(reasons), start, end)
    listing = asyncio.run(list_dead_letters(settings, selection, limit))
    click.echo(msgspec.json.encode(listing) if style == "json" else listing_text(listing))


@dead_letters.command(
    epilog="\b\nExamples:\n"
    "  processor dead-letters show 3/17\n"
    "  processor dead-letters show 3/17 --raw > body.json"
)
@click.argument("id")
@click.option("--raw", is_flag=True, help="Write the body alone, byte by byte.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_MAX_SHOWN,
    show_default=True,
    help="Characters of the body and of each header.",
)
def show(id: str, raw: bool, limit: int) -> None:
    """Show one dead letter with its headers and its body; what is not printable is escaped."""
    letter, retried = asyncio.run(find_dead_letter(_settings(), id))
    if raw:
        click.get_binary_stream("stdout").write(letter.event.value or b"")
    else:
        click.echo(dead_letter_text(letter, retried, limit))


@dead_letters.command(
    epilog="\b\nExamples:\n"
    "  processor dead-letters retry --dry-run\n"
    "  processor dead-letters retry --reason bad_shape\n"
    "  processor dead-letters retry 3/17 3/18"
)
@click.argument("ids", nargs=-1)
@_selecting
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@_format
def retry(
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    start: int,
    end: int | None,
    dry_run: bool,
    style: str,
) -> None:
    """Read dead letters again with this release and its models file, and count those that can be read
    now.

    Without IDS and options all dead letters are read again. Each event keeps its original time and
    counts once, however often it is retried. What still can't be read stays a dead letter.
    """
    settings = _settings()
    selection = Selection(frozenset(reasons), start, end, frozenset(ids))
    outcomes = asyncio.run(retry_dead_letters(settings, selection, dry_run))
    if style == "json":
        found = {reason: outcome._asdict() for reason, outcome in outcomes.items()}
        click.echo(msgspec.json.encode({"dry_run": dry_run, "by_reason": found}))
    else:
        click.echo(outcomes_text(outcomes, dry_run))


def _settings() -> Settings:
    settings = Settings.from_env()
    set_up_logs("CRITICAL", settings.log_format, libraries="CRITICAL")
    interrupt_at_once()
    return settings
