"""Faust's recovery of the table: when it is over, and that it goes on."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: Looks without a record read after which a recovery starts again.
PATIENCE = 15


class TableRecovery:
    """Calls ``done`` at the end of each recovery, unless a new one is due already.

    Faust tells nobody when a step of it is lost: it waits for ever, and with it all streams. To start
    it again costs nothing but time, since it goes on where it stood. Each time it may take twice as
    long, so that a slow broker is not asked the same question again and again.
    """

    def __init__(self, app: Any, done: Callable[[], None]) -> None:
        self.recovered = asyncio.Event()
        """Set once the table was recovered for the first time."""
        self._app = app
        self._done = done
        self._running = False
        self._mark: object = None
        self._still = 0
        self._patience = PATIENCE
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        app.on_rebalance_complete.connect(self._on_complete, weak=False)

    @property
    def remaining(self) -> int:
        """Records that are still to be read."""
        recovery = self._app.tables.recovery
        return max(0, recovery.active_remaining_total()) if recovery.in_recovery else 0

    def check(self) -> None:
        """Once a second or so."""
        if not self._running:
            return
        mark = self.remaining
        self._still = self._still + 1 if mark == self._mark else 0
        self._mark = mark
        if self._still >= self._patience:
            logger.warning(
                "the table's recovery stands still, %d records to read: it starts again", mark
            )
            self._still = 0
            self._patience *= 2
            self._app.tables.recovery.signal_recovery_start.set()

    async def _on_revoked(self, *args: Any, **kwargs: Any) -> None:
        self._running = False

    async def _on_assigned(self, *args: Any, **kwargs: Any) -> None:
        self._running = True
        self._mark, self._still, self._patience = None, 0, PATIENCE

    async def _on_complete(self, *args: Any, **kwargs: Any) -> None:
        if self._app.tables.recovery.signal_recovery_start.is_set():
            return  # this is of the assignment before; the table of the new one comes next
        self._running = False
        self._done()
        self.recovered.set()
