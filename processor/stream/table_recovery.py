"""Watching Faust's recovery of the table: its end, and that it makes progress."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: Checks without progress after which a recovery starts again.
PATIENCE = 15


class TableRecovery:
    """Calls ``done`` at the end of each recovery, unless a new one is due already.

    If a step of the recovery is lost, Faust waits for ever without an error, and all streams wait too. A
    recovery that is started again continues where it stopped, so it costs only time. The patience
    doubles each time, so that a slow broker does not get the same requests again and again.
    """

    def __init__(self, app: Any, done: Callable[[], None]) -> None:
        self.recovered = asyncio.Event()
        """Set once the table was recovered for the first time."""
        self._app = app
        self._done = done
        self._running = False
        self._last_remaining: int | None = None
        self._stalled_checks = 0
        self._patience = PATIENCE
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        app.on_rebalance_complete.connect(self._on_complete, weak=False)

    @property
    def remaining(self) -> int:
        """The number of records that the recovery still has to read; 0 if none is running."""
        recovery = self._app.tables.recovery
        return max(0, recovery.active_remaining_total()) if recovery.in_recovery else 0

    def check(self) -> None:
        """Start a recovery again that makes no progress. To be called about once a second."""
        if not self._running:
            return
        remaining = self.remaining
        stalled = remaining == self._last_remaining
        self._stalled_checks = self._stalled_checks + 1 if stalled else 0
        self._last_remaining = remaining
        if self._stalled_checks >= self._patience:
            logger.warning(
                "the table's recovery stands still, %d records to read: it starts again", remaining
            )
            self._stalled_checks = 0
            self._patience *= 2
            self._app.tables.recovery.signal_recovery_start.set()

    async def _on_revoked(self, *args: Any, **kwargs: Any) -> None:
        self._running = False

    async def _on_assigned(self, *args: Any, **kwargs: Any) -> None:
        self._running = True
        self._last_remaining, self._stalled_checks, self._patience = None, 0, PATIENCE

    async def _on_complete(self, *args: Any, **kwargs: Any) -> None:
        if self._app.tables.recovery.signal_recovery_start.is_set():
            return  # the end of the previous assignment's recovery; the new one's comes next
        self._running = False
        self._done()
        self.recovered.set()
