"""A limit on the memory of the embedded broker.

The broker keeps every record in memory: it supports neither retention nor the deletion of records
(tried), so records stay even after the folds have read them.
"""

import asyncio
import logging

from processor.embedded.broker import EmbeddedBroker
from processor.errors import CapacityError

logger = logging.getLogger(__name__)

#: Seconds between measurements: at full load the broker grows by a few MiB meanwhile.
_INTERVAL = 1.0


class BrokerMemoryGuard:
    """Refuses new events once the broker's process uses ``max_bytes`` of memory; None = never."""

    def __init__(self, broker: EmbeddedBroker, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        """The broker's memory at the last measurement."""
        self.last_error = ""
        """Why new events are refused; empty while they are not."""
        self._broker = broker

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(_INTERVAL)

    async def measure(self) -> None:
        """Measure the broker's memory, and begin or end the refusal of new events."""
        self.used_bytes = await self._broker.memory()
        full = self.max_bytes is not None and self.used_bytes >= self.max_bytes
        if full and not self.last_error:
            self.last_error = (
                "new events are refused: the embedded broker keeps all in memory and has reached "
                f"PROCESSOR_MAX_BROKER_MEMORY ({self.max_bytes} bytes): raise it, set "
                "PROCESSOR_BROKER to a Kafka, or start with an empty PROCESSOR_DATA"
            )
            logger.error("%s", self.last_error)
        elif not full:
            self.last_error = ""

    def check(self) -> None:
        """Raise `CapacityError` while new events are refused."""
        if self.last_error:
            raise CapacityError(self.last_error)
