"""The work of ``processor dead-letters``: finding, listing, showing and retrying dead letters."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from processor.archive.sqlite.archive import SqliteReader
from processor.dead_letters.topic import DeadLetterRetry, DeadLetterTopic, Outcome
from processor.domain.events.dead_letters import DeadLetterRecord, printable, type_and_id
from processor.domain.events.decoder import Decoder
from processor.domain.timestamps import format_time
from processor.errors import ProcessorError, SettingsError
from processor.kafka.clients import FAULTS, Kafka, explain
from processor.models_file import read_models_file
from processor.replay.progress import CommandProgress
from processor.settings import Settings
from processor.telemetry import Telemetry

_BATCH_BYTES = 8 << 20
#: The most characters of a detail or an origin: an event must not fill the terminal.
_MAX_TEXT = 300
_LIST = "'processor dead-letters list' shows their ids"


class Selection(NamedTuple):
    """A selection of letters by reason, time of keeping in [start, end) (ns) and id; empty fields
    select all letters."""

    reasons: frozenset[str] = frozenset()
    start: int = 0
    end: int | None = None
    ids: frozenset[str] = frozenset()

    def __call__(self, letter: DeadLetterRecord) -> bool:
        """Return whether a letter is selected."""
        return (
            letter.kept >= self.start
            and (self.end is None or letter.kept < self.end)
            and (not self.reasons or letter.letter.reason in self.reasons)
            and (not self.ids or letter.id in self.ids)
        )


class Entry(msgspec.Struct):
    """A letter in a list: all texts are printable, times RFC 3339; the body is left out."""

    id: str
    time: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    type: str
    request_id: str
    bytes: int
    retried: str | None = None


class Listing(msgspec.Struct):
    """The newest of the selected letters, and the numbers of all selected letters."""

    dead_letters: list[Entry]
    total: int
    by_reason: dict[str, int]


class ArchivedDeadLetters:
    """Finds the dead letters of the embedded mode by decoding its archive again, with today's rules:
    no topic outlives that mode. ``retried`` stays empty: nothing needs a retry."""

    def __init__(self, reader: SqliteReader, decoder: Decoder) -> None:
        self.retried: dict[str, int] = {}
        self._reader = reader
        self._decoder = decoder

    async def scan(self, start: int) -> AsyncIterator[DeadLetterRecord]:
        """Yield the unreadable events of the archive, kept from ``start`` (ns) on."""
        last = await self._reader.last()
        with CommandProgress(f"reading {self._reader.path}", last) as progress:
            async for letter in self._read(0, progress):
                if letter.kept >= start:
                    yield letter

    async def find(self, name: str) -> DeadLetterRecord | None:
        """Return the event with this number if it is unreadable, else None."""
        if not name.isdecimal() or not 0 < int(name) <= await self._reader.last():
            return None
        async for letter in self._read(int(name) - 1):
            return letter if letter.id == name else None
        return None

    async def _read(
        self, after: int, progress: CommandProgress | None = None
    ) -> AsyncIterator[DeadLetterRecord]:
        while rows := await self._reader.events(after, _BATCH_BYTES):
            for number, event in rows:
                letter = self._decoder.decode(*event).dead_letter
                if letter is not None:
                    origin = ("archive", 0, number)
                    yield DeadLetterRecord(
                        str(number), event.timestamp, letter, origin, None, event
                    )
            after = rows[-1][0]
            if progress:
                progress.update(after, after)


DeadLetters: TypeAlias = DeadLetterTopic | ArchivedDeadLetters


def open_dead_letters(settings: Settings) -> AbstractAsyncContextManager[DeadLetters]:
    """Open the dead letters of the service with these settings."""
    return _in_archive(settings) if settings.embedded else _on_kafka(settings)


@asynccontextmanager
async def _on_kafka(settings: Settings) -> AsyncIterator[DeadLetters]:
    kafka = Kafka(settings, settings.broker)
    try:
        yield DeadLetterTopic(kafka, settings)
    except FAULTS as error:
        raise explain(error, kafka.servers) from None


@asynccontextmanager
async def _in_archive(settings: Settings) -> AsyncIterator[DeadLetters]:
    path = settings.data / "events.sqlite"
    if settings.archive.startswith("sqlite:"):
        path = Path(settings.archive.removeprefix("sqlite:"))
    if not path.exists():
        raise SettingsError(
            f"there is neither a broker nor an archive {path}: set PROCESSOR_BROKER to "
            "kafka://host:port, or PROCESSOR_DATA to the folder of the embedded service"
        )
    reader = await SqliteReader.open_read_only(path)
    try:
        decoder = Decoder(read_models_file(settings.models), Telemetry())
        yield ArchivedDeadLetters(reader, decoder)
    finally:
        await reader.close()


async def list_dead_letters(settings: Settings, selection: Selection, limit: int) -> Listing:
    """List the newest ``limit`` of the selected letters, in order of time."""
    # Each partition is read in order of time, so the newest letters of all are among these.
    newest: dict[str, deque[tuple[int, Entry]]] = {}
    reasons: Counter[str] = Counter()
    async with open_dead_letters(settings) as dead_letters:
        async for letter in dead_letters.scan(selection.start):
            if selection(letter):
                reasons[letter.letter.reason] += 1
                partition = letter.id.rpartition("/")[0]
                newest.setdefault(partition, deque(maxlen=limit)).append(
                    (letter.kept, _entry(letter))
                )
        retried = dead_letters.retried
    everything = sorted((e for part in newest.values() for e in part), key=itemgetter(0))
    entries = [entry for _, entry in everything[-limit:]]
    for entry in entries:
        if entry.id in retried:
            entry.retried = format_time(retried[entry.id])
    return Listing(entries, reasons.total(), dict(reasons.most_common()))


async def find_dead_letter(settings: Settings, name: str) -> tuple[DeadLetterRecord, int | None]:
    """Return the letter with this id, and when (ns) it was retried, None if it was not.

    `ProcessorError` if there is no such letter.
    """
    async with open_dead_letters(settings) as dead_letters:
        letter = await dead_letters.find(name)
        if letter is None:
            raise ProcessorError(f"there is no dead letter {name[:60]!r}: {_LIST}")
        return letter, dead_letters.retried.get(name)


async def retry_dead_letters(
    settings: Settings, selection: Selection, dry: bool
) -> dict[str, Outcome]:
    """Decode the selected letters again and put their observations on the log, unless ``dry``.

    Returns the outcomes by reason. `ProcessorError` in the embedded mode, and if a selected id does not
    exist.
    """
    async with open_dead_letters(settings) as dead_letters:
        if not isinstance(dead_letters, DeadLetterTopic):
            raise ProcessorError(
                "nothing can be retried in the embedded mode, nor needs to be: each start reads "
                "all events of the archive again; restart the service"
            )
        kafka = Kafka(settings, settings.broker)
        decoder = Decoder(read_models_file(settings.models), Telemetry())
        retry = DeadLetterRetry(kafka, settings, decoder, dead_letters)
        found: set[str] = set()

        def wanted(letter: DeadLetterRecord) -> bool:
            if not selection(letter):
                return False
            found.add(letter.id)
            return True

        outcomes = await retry.run(wanted, selection.start, dry)
    if missing := selection.ids - found:
        names = ", ".join(sorted(name[:60] for name in missing))
        raise ProcessorError(f"no dead letter {names!r} is among those selected: {_LIST}")
    return outcomes


def _entry(letter: DeadLetterRecord) -> Entry:
    topic, partition, offset = letter.origin
    kind, request_id = type_and_id(letter.event)
    return Entry(
        letter.id,
        format_time(letter.kept),
        printable(letter.letter.reason, 60),
        printable(letter.letter.detail, _MAX_TEXT),
        printable(topic, _MAX_TEXT),
        partition,
        offset,
        kind,
        request_id,
        len(letter.event.value or b""),
    )


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
    entry, value = _entry(letter), letter.event.value
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
        lines.append(f"  key      {printable(letter.key, _MAX_TEXT)}")
    lines += [
        f"  header   {printable(name, _MAX_TEXT)}: {printable(content or b'', limit)}"
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
