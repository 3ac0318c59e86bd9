"""The text that ``processor dead-letters`` prints."""

from collections.abc import Iterable, Mapping

from processor.dead_letters.listing import MAX_TEXT, Listing, entry_of
from processor.dead_letters.retry import Outcome
from processor.domain.events.dead_letters import DeadLetterRecord, printable
from processor.domain.timestamps import format_time


def listing_text(listing: Listing) -> str:
    """Format a listing as a table, followed by the number of letters."""
    rows = [("ID", "TIME", "REASON", "ORIGIN", "TYPE", "REQUEST", "DETAIL")]
    for entry in listing.dead_letters:
        detail = f"(retried {entry.retried}) {entry.detail}" if entry.retried else entry.detail
        origin = f"{entry.topic}/{entry.partition}@{entry.offset}"
        rows.append(
            (entry.id, entry.time, entry.reason, origin, entry.type, entry.request_id, detail)
        )
    lines = _table(rows) if listing.dead_letters else []
    counts = ", ".join(f"{count:,} {printable(r, 60)}" for r, count in listing.by_reason.items())
    shown = len(listing.dead_letters)
    newest = f"; the newest {shown:,} are shown" if shown < listing.total else ""
    return "\n".join(
        [*lines, f"{listing.total:,} dead letters{': ' if counts else ''}{counts}{newest}"]
    )


def dead_letter_text(letter: DeadLetterRecord, retried: int | None, limit: int) -> str:
    """Format one letter with its headers and the first ``limit`` characters of its body."""
    entry, value = entry_of(letter), letter.event.value
    lines = [
        f"dead letter {letter.id}",
        f"  kept     {entry.time}",
        f"  reason   {entry.reason}",
        f"  detail   {entry.detail}",
        f"  origin   {entry.topic}/{entry.partition}@{entry.offset}",
        f"  time     {format_time(letter.event.timestamp)} (of its record or acceptance)",
        f"  retried  {'no' if retried is None else format_time(retried)}",
    ]
    if letter.key:
        lines.append(f"  key      {printable(letter.key, MAX_TEXT)}")
    lines += [
        f"  header   {printable(name, MAX_TEXT)}: {printable(content or b'', limit)}"
        for name, content in letter.event.headers
    ]
    lines.append("  body     none" if value is None else f"  body     {len(value):,} bytes")
    if value:
        lines += [f"    {line}" for line in printable(value, limit, lines=True).split("\n")]
    return "\n".join(lines)


def outcomes_text(outcomes: Mapping[str, Outcome], dry: bool) -> str:
    """Format the outcomes of a retry as a table by reason."""
    if not outcomes:
        return "no dead letters"
    head = "would be counted" if dry else "on the log now"
    rows: list[tuple[str, ...]] = [
        ("REASON", head.upper(), "NOTHING TO COUNT", "STILL UNREADABLE", "RETRIED BEFORE")
    ]
    rows += [(printable(reason, 60), *map(str, counts)) for reason, counts in outcomes.items()]
    return "\n".join(_table(rows))


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
