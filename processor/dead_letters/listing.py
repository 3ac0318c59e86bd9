"""Finding dead letters: a list of those selected, or one by its id."""

from collections import Counter, deque
from operator import itemgetter
from typing import NamedTuple

import msgspec

from processor.dead_letters.store import open_dead_letters
from processor.domain.events.dead_letters import DeadLetterRecord, printable, type_and_id
from processor.domain.timestamps import format_time
from processor.errors import ProcessorError
from processor.settings import Settings

#: The most characters of a detail or an origin: an event must not fill the terminal.
MAX_TEXT = 300
UNKNOWN_ID_HINT = "'processor dead-letters list' shows their ids"


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
                    (letter.kept, entry_of(letter))
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
            raise ProcessorError(f"there is no dead letter {name[:60]!r}: {UNKNOWN_ID_HINT}")
        return letter, dead_letters.retried.get(name)


def entry_of(letter: DeadLetterRecord) -> Entry:
    """Describe a letter in printable texts."""
    topic, partition, offset = letter.origin
    kind, request_id = type_and_id(letter.event)
    return Entry(
        letter.id,
        format_time(letter.kept),
        printable(letter.letter.reason, 60),
        printable(letter.letter.detail, MAX_TEXT),
        printable(topic, MAX_TEXT),
        partition,
        offset,
        kind,
        request_id,
        len(letter.event.value or b""),
    )
