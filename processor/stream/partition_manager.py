"""The partitions of one log that are assigned to a worker: their stages and folds, which are opened
beside the stream."""

import asyncio
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from processor.kafka.lag import PartitionPosition
from processor.stream.partition_fold import PartitionFold

S = TypeVar("S")
Fail = Callable[[BaseException], None]

#: Seconds between the heartbeats of a busy partition, and of an idle one.
HEARTBEAT, IDLE_HEARTBEAT = 1.0, 10.0


@dataclass(slots=True)
class _Assigned(Generic[S]):
    fold: PartitionFold
    stage: S
    opening: "asyncio.Task[None] | None" = None
    last_heartbeat: float = field(default_factory=time.monotonic)


class PartitionManager(Generic[S]):
    """Manages the assigned partitions of one kind of stage (``S``).

    ``make`` makes the fold and the stage of a partition; ``fail`` is called with an error that must end
    the process.
    """

    def __init__(self, make: Callable[[int], tuple[PartitionFold, S]], fail: Fail) -> None:
        self._make = make
        self._fail = fail
        self._assigned: dict[int, _Assigned[S]] = {}
        self._may_open = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """The assigned partitions, sorted."""
        return tuple(sorted(self._assigned))

    def assign(self, numbers: Set[int], trusted: float = inf) -> None:
        """Drop revoked partitions, keep the others, make new ones. `open` must be called next.

        A kept partition that has received nothing for more than ``trusted`` seconds is not taken for up
        to date: it may have been another worker's meanwhile.
        """
        self._may_open = False
        for number in self._assigned.keys() - numbers:
            partition = self._assigned.pop(number)
            if partition.opening:
                partition.opening.cancel()
        now = time.monotonic()
        for partition in self._assigned.values():
            if now - partition.fold.current_at > trusted:
                partition.fold.fall_behind()
        for number in numbers - self._assigned.keys():
            self._assigned[number] = _Assigned(*self._make(number))

    def open(self) -> None:
        """Open all partitions that are not open, each in its own task."""
        self._may_open = True
        for partition in self._assigned.values():
            self._open(partition)

    def check_ends(self) -> None:
        """Take no partition for up to date until it has been read to its end again."""
        for partition in self._assigned.values():
            partition.fold.fall_behind()
            if self._may_open:
                self._open(partition)

    async def close(self) -> None:
        """Cancel the opening of all partitions."""
        self._may_open = False
        tasks = [partition.opening for partition in self._assigned.values() if partition.opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def deliver(self, number: int, offset: int, timestamp: int, value: bytes) -> S | None:
        """Hand a record to its partition's fold; returns the stage if the record was folded."""
        partition = self._assigned.get(number)
        if partition is None:
            return None  # revoked meanwhile: the record was still in the stream's buffer
        with fatal(self._fail):
            folded = await partition.fold.deliver(offset, timestamp, value)
        if self._may_open:
            self._open(partition)
        return partition.stage if folded else None

    def due(self, busy: Callable[[S], bool]) -> list[tuple[int, S]]:
        """Return the open partitions whose heartbeat is due; ``busy`` stages have more of them."""
        now, due = time.monotonic(), []
        for number, partition in self._assigned.items():
            pause = HEARTBEAT if busy(partition.stage) else IDLE_HEARTBEAT
            if partition.fold.opened.is_set() and now - partition.last_heartbeat >= pause:
                partition.last_heartbeat = now
                due.append((number, partition.stage))
        return due

    def open_stages(self) -> list[S]:
        """Return the stages that are up to date."""
        return list(self.open_by_number().values())

    def open_by_number(self) -> dict[int, S]:
        """Return the stages that are up to date, by partition."""
        return {
            number: partition.stage
            for number, partition in self._assigned.items()
            if partition.fold.opened.is_set()
        }

    @property
    def are_open(self) -> bool:
        """Whether all assigned partitions are up to date."""
        return all(partition.fold.opened.is_set() for partition in self._assigned.values())

    def stages(self) -> dict[int, S]:
        """Return all stages by partition, whether they are open or not."""
        return {number: partition.stage for number, partition in self._assigned.items()}

    def offsets(self) -> dict[int, int]:
        """Return the next offset of each partition."""
        return {number: partition.fold.next_offset for number, partition in self._assigned.items()}

    @property
    def remaining(self) -> int:
        """Records that opening folds still have to read."""
        return sum(
            max(0, partition.fold.end_at_opening - partition.fold.next_offset)
            for partition in self._assigned.values()
            if not partition.fold.opened.is_set()
        )

    def positions(self) -> dict[int, PartitionPosition]:
        """Return the position of each partition."""
        return {
            number: PartitionPosition(
                partition.fold.next_offset, partition.fold.opened.is_set(), partition.fold.steps
            )
            for number, partition in self._assigned.items()
        }

    @property
    def failing(self) -> int:
        """The number of partitions with a record that fails to fold repeatedly."""
        return sum(partition.fold.failures > 0 for partition in self._assigned.values())

    @property
    def recovery_seconds(self) -> float:
        """Seconds that the slowest partition took to catch up, or has taken so far."""
        return max(
            (partition.fold.recovery_seconds for partition in self._assigned.values()), default=0.0
        )

    def _open(self, partition: _Assigned[S]) -> None:
        if not partition.fold.opened.is_set() and (
            partition.opening is None or partition.opening.done()
        ):
            partition.opening = asyncio.create_task(self._opening(partition))
            partition.opening.add_done_callback(forget)

    async def _opening(self, partition: _Assigned[S]) -> None:
        with fatal(self._fail):
            await partition.fold.open()
        # Records that the stream delivered meanwhile were not folded: a heartbeat is due at once, since
        # its delivery reveals the gap.
        partition.last_heartbeat = -IDLE_HEARTBEAT


@contextmanager
def fatal(fail: Fail) -> Iterator[None]:
    """End the process through ``fail`` if the block raises an error."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        fail(error)
        raise


def forget(future: "asyncio.Future[Any]") -> None:
    """Mark a future's error as retrieved: it was reported already, or need not be."""
    if not future.cancelled():
        future.exception()
