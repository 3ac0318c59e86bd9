"""The partitions of one log that a worker holds: each a stage and its fold, opened beside the
stream."""

import asyncio
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from processor.kafka.lag import PartitionPosition
from processor.stream.partition_fold import PartitionFold

S = TypeVar("S")
Fail = Callable[[BaseException], None]

#: Seconds between ticks of a partition that has something to tell, and of one that is idle.
HEARTBEAT, IDLE_HEARTBEAT = 1.0, 10.0


@dataclass(slots=True)
class _Assigned(Generic[S]):
    fold: PartitionFold
    stage: S
    opening: "asyncio.Task[None] | None" = None
    last_heartbeat: float = field(default_factory=time.monotonic)


class PartitionManager(Generic[S]):
    """Those of one stage. ``fail`` is called with an error that must end the process."""

    def __init__(self, make: Callable[[int], tuple[PartitionFold, S]], fail: Fail) -> None:
        self._make = make
        self._fail = fail
        self._held: dict[int, _Assigned[S]] = {}
        self._may_open = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which it holds."""
        return tuple(sorted(self._held))

    def assign(self, numbers: Set[int]) -> None:
        """Drop what was lost, keep what stays, make what is new; `open` comes next."""
        self._may_open = False
        for number in self._held.keys() - numbers:
            held = self._held.pop(number)
            if held.opening:
                held.opening.cancel()
        for number in numbers - self._held.keys():
            self._held[number] = _Assigned(*self._make(number))

    def open(self) -> None:
        """Open what is not open, each in a task of its own."""
        self._may_open = True
        for held in self._held.values():
            self._open(held)

    async def close(self) -> None:
        """End what is being opened."""
        self._may_open = False
        tasks = [held.opening for held in self._held.values() if held.opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def deliver(self, number: int, offset: int, timestamp: int, value: bytes) -> S | None:
        """Hand a record to its fold; the stage, if the record was folded now."""
        held = self._held.get(number)
        if held is None:
            return None  # lost meanwhile: the stream's buffer had it still
        with fatal(self._fail):
            folded = await held.fold.deliver(offset, timestamp, value)
        if self._may_open:
            self._open(held)
        return held.stage if folded else None

    def due(self, busy: Callable[[S], bool]) -> list[tuple[int, S]]:
        """The open partitions whose next tick is due."""
        now, found = time.monotonic(), []
        for number, held in self._held.items():
            pause = HEARTBEAT if busy(held.stage) else IDLE_HEARTBEAT
            if held.fold.opened.is_set() and now - held.last_heartbeat >= pause:
                held.last_heartbeat = now
                found.append((number, held.stage))
        return found

    def open_stages(self) -> list[S]:
        """The stages that are up to date."""
        return list(self.open_by_number().values())

    def open_by_number(self) -> dict[int, S]:
        """The same, by partition."""
        held = self._held.items()
        return {number: one.stage for number, one in held if one.fold.opened.is_set()}

    def stages(self) -> dict[int, S]:
        """All stages, open or not."""
        return {number: held.stage for number, held in self._held.items()}

    def offsets(self) -> dict[int, int]:
        """The offset that each partition has reached."""
        return {number: held.fold.next_offset for number, held in self._held.items()}

    @property
    def remaining(self) -> int:
        """Records that opening folds still have to read."""
        return sum(
            max(0, held.fold.end_at_opening - held.fold.next_offset)
            for held in self._held.values()
            if not held.fold.opened.is_set()
        )

    def positions(self) -> dict[int, PartitionPosition]:
        """Where each partition stands."""
        return {
            number: PartitionPosition(
                held.fold.next_offset, held.fold.opened.is_set(), held.fold.steps
            )
            for number, held in self._held.items()
        }

    @property
    def failing(self) -> int:
        """Partitions with a record that fails to fold, again and again."""
        return sum(held.fold.failures > 0 for held in self._held.values())

    @property
    def recovery_seconds(self) -> float:
        """The longest that a partition took to come up to date, or takes by now."""
        return max((held.fold.recovery_seconds for held in self._held.values()), default=0.0)

    def _open(self, held: _Assigned[S]) -> None:
        if not held.fold.opened.is_set() and (held.opening is None or held.opening.done()):
            held.opening = asyncio.create_task(self._opening(held))
            held.opening.add_done_callback(forget)

    async def _opening(self, held: _Assigned[S]) -> None:
        with fatal(self._fail):
            await held.fold.open()
        # What the stream delivered meanwhile was left out; the tick's own delivery shows the gap.
        held.last_heartbeat = -IDLE_HEARTBEAT


@contextmanager
def fatal(fail: Fail) -> Iterator[None]:
    """What is raised in here ends the process."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        fail(error)
        raise


def forget(future: "asyncio.Future[Any]") -> None:
    """For a future whose error was told already, or need not be."""
    if not future.cancelled():
        future.exception()
