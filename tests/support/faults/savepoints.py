"""The commands `processor savepoint` for a cluster's app, each as a process that a test can end."""

import time
from pathlib import Path

import pytest

from processor.errors import SavepointError
from processor.savepoint.commands import show_savepoint
from tests.support.faults.cluster import WorkerCluster, until
from tests.support.forks.process import Fork

#: Seconds that a command may take, with a broker that stands still for a while.
_PATIENCE = 180


class Command:
    """A command that runs; ``arguments`` are those of `processor savepoint`."""

    def __init__(self, cluster: WorkerCluster, name: str, *arguments: str) -> None:
        self._log = cluster.folder / f"{name}.log"
        self._begin = time.monotonic()
        env = cluster.env("data-0")
        with self._log.open("wb") as output:
            self._process = Fork(["savepoint", *arguments], env, output, output)

    @property
    def text(self) -> str:
        """Return its output so far."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait(60)

    async def end(self) -> int:
        """The exit code, once it has ended by itself."""
        await until(lambda: not self.is_running, _PATIENCE, f"end of {self._log.name}")
        assert self._process.returncode is not None
        return self._process.returncode

    async def succeed(self) -> float:
        """The seconds that it took."""
        assert await self.end() == 0, self.text
        return time.monotonic() - self._begin


class Save(Command):
    """`processor savepoint save PATH` of the app of a cluster."""

    def __init__(self, cluster: WorkerCluster, path: Path) -> None:
        self.path = path
        self.part = Path(f"{path}.part")
        super().__init__(cluster, path.name, "save", str(path))

    async def reach(self, size: int) -> None:
        """Wait until so many bytes of the file are there, or the command has ended."""

        def reached() -> bool:
            try:
                return self.part.stat().st_size >= size or not self.is_running
            except FileNotFoundError:
                return not self.is_running

        await until(reached, _PATIENCE, f"{size} bytes of {self.part.name}")


def is_refused(path: Path) -> bool:
    """Whether a load takes this file for one that was not written to its end."""
    with pytest.raises(SavepointError, match=r"ends in block|is not a savepoint"):
        show_savepoint(str(path))
    return True
