"""Watching the disks of a worker: whether files can be written to its folders."""

import asyncio
import errno
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from processor.service.problems import Trouble
from processor.stream.writer_thread import WriterThread

logger = logging.getLogger(__name__)

#: Seconds between two tries, and seconds after which a disk that does not answer counts as hanging.
EVERY, PATIENCE = 1.5, 3.0
#: The bytes that a try writes, and the free bytes below which a disk is full: commits need some room.
_TRY_BYTES, _LEAST_BYTES = 4096, 1 << 20


class DiskWatch:
    """Tries to write a small file in each of the folders, again and again.

    ``grace`` is that of `Trouble`. ``effect`` says what does not work meanwhile.
    """

    def __init__(self, folders: Sequence[Path], grace: float | None, effect: str) -> None:
        self.free_bytes: int | None = None
        """The free bytes of the fullest of the disks; None before the first try."""
        self._folders = list(dict.fromkeys(folders))
        self._grace = grace
        self._effect = effect
        self._error: tuple[str, str] | None = None
        self._checked = False
        # A disk may hang: then neither the event loop nor other work in threads may wait for it.
        self._thread = WriterThread()
        self._running: asyncio.Future[None] | None = None

    @property
    def full(self) -> int | None:
        """1 if a folder can't be written to, 0 if all can; None before the first try."""
        return int(self._error is not None) if self._checked else None

    def troubles(self) -> Iterable[Trouble]:
        """The trouble with the disks, if there is one."""
        if self._error is not None:
            what, remedy = self._error
            yield Trouble("disk", f"{what}: {self._effect}", remedy, self._grace)

    async def run(self) -> None:
        """Try until cancelled."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(EVERY)
        finally:
            self._thread.close()

    async def check(self) -> None:
        """Try once."""
        if self._running is None:
            self._running = self._thread.do(self._try_all)
        done, _ = await asyncio.wait([self._running], timeout=PATIENCE)
        self._checked = True
        if not done:
            self._error = (
                f"the disk of {self._folders[0]} gives no answer in {PATIENCE:g} s",
                "check the disk, or the network if it is mounted over one",
            )
            return
        running, self._running = self._running, None
        running.result()

    def _try_all(self) -> None:
        free, error = [], None
        for folder in self._folders:
            try:
                state = os.statvfs(folder)
                free.append(state.f_bavail * state.f_frsize)
                _write(folder, free[-1])
            except OSError as failure:
                error = error or _explain(folder, failure)
        self.free_bytes = min(free, default=None)
        self._error = error


def _write(folder: Path, free: int) -> None:
    """Write a file and remove it."""
    if free < _LEAST_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    path = folder / f".write-test-{os.getpid()}"
    try:
        path.write_bytes(bytes(_TRY_BYTES))
    finally:
        path.unlink(missing_ok=True)


def _explain(folder: Path, error: OSError) -> tuple[str, str]:
    """The problem and its remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full", "make room, or use a larger disk"
    return (
        f"nothing can be written to {folder} ({(error.strerror or str(error)).lower()})",
        "make it writable for the user of this process, or name another folder in PROCESSOR_DATA",
    )
