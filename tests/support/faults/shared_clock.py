"""`processor run` whose clock is what a test has written to a file: FAULT=shared_clock:PATH.

The state is saved, and old events are deleted, every second of the true clock.
"""

import mmap
import os
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """The memory that is shared."""

    def __getitem__(self, key: slice) -> bytes: ...
    def __setitem__(self, key: slice, value: bytes) -> None: ...


def open_clock(path: Path) -> Clock:
    """The clock in a file, which both sides map."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def make_clock(path: Path, now: int) -> Clock:
    """A new clock that shows ``now`` (ns)."""
    path.write_bytes(now.to_bytes(8, "little"))
    return open_clock(path)


def set_clock(clock: Clock, now: int) -> None:
    """Let the clock show ``now`` (ns)."""
    clock[:] = now.to_bytes(8, "little")


def main() -> None:
    """Run the processor by the clock."""
    clock = open_clock(Path(os.environ["FAULT"].partition(":")[2]))

    def time_ns() -> int:
        return int.from_bytes(clock[:8], "little")

    # Before the processor is imported: its functions have the clock as a default argument.
    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    from processor.cli.main import main as run
    from processor.embedded import retention, saver

    saver.EVERY = saver.AT_LEAST = retention.EVERY = 1.0
    run()


if __name__ == "__main__":
    main()
