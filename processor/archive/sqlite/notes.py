"""Notes that are not in the index of the archive yet, and filters that spare most looks into it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from processor.archive.sqlite import requests as index
from processor.domain.native import native, use_native

#: Filters that are kept, for the newest segments that this process has begun. Each takes 4 MiB of memory
#: and excludes nearly every request that its segment does not have. Older segments are always looked
#: into.
FILTERS = 10


class Notes(Protocol):
    """Which events belong to which requests. Notes wait to be written, and are found meanwhile."""

    def __len__(self) -> int:
        """The number of notes that wait, without those that are being written."""
        ...

    def add(self, notes: Sequence[index.Note]) -> None:
        """Add notes."""
        ...

    def find(self, requests: Sequence[int]) -> list[int]:
        """The sequence numbers of the events of some requests that are not known to be in the index."""
        ...

    def places(self, requests: Sequence[int], first: int, last: int) -> list[tuple[int, int]]:
        """Where to look into the index for some requests: segments from ``first`` to ``last``, each with
        a request that it may have."""
        ...

    def begin_write(self) -> int:
        """Begin to write all notes. Returns how many `rows` there are: all of the last time as well,
        unless `end_write` came since."""
        ...

    def rows(self, start: int, count: int) -> list[tuple[int, int, int]]:
        """Some of the rows of the index to write; all are sorted."""
        ...

    def end_write(self) -> None:
        """Forget the notes that were to be written: the index has them."""
        ...


def new_notes(last: int) -> Notes:
    """No notes yet; ``last`` is the last segment that the index has, -1 if it is empty."""
    if use_native:
        return native.Notes(index.SEGMENT_BITS, FILTERS, last)
    return PythonNotes()


class PythonNotes:
    """`Notes` in Python, without filters, for an installation without the native extension."""

    def __init__(self) -> None:
        self._waiting: list[index.Note] = []
        self._writing: list[index.Note] = []
        self._rows: list[tuple[int, int, int]] = []
        self._numbers: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, notes: Iterable[index.Note]) -> None:
        """See `Notes`."""
        for request, number in notes:
            self._waiting.append((request, number))
            self._numbers.setdefault(request, []).append(number)

    def find(self, requests: Sequence[int]) -> list[int]:
        """See `Notes`."""
        return [number for request in requests for number in self._numbers.get(request, ())]

    def places(self, requests: Sequence[int], first: int, last: int) -> list[tuple[int, int]]:
        """See `Notes`."""
        return [(segment, one) for segment in range(first, last + 1) for one in requests]

    def begin_write(self) -> int:
        """See `Notes`."""
        self._writing += self._waiting
        self._waiting = []
        self._rows = sorted(
            (number >> index.SEGMENT_BITS, request, number) for request, number in self._writing
        )
        return len(self._rows)

    def rows(self, start: int, count: int) -> list[tuple[int, int, int]]:
        """See `Notes`."""
        return self._rows[start : start + count]

    def end_write(self) -> None:
        """See `Notes`."""
        waiting = self._waiting
        self._waiting, self._writing, self._rows, self._numbers = [], [], [], {}
        self.add(waiting)
