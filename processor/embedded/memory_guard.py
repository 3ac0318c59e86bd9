"""How much the embedded broker holds, and an end to it.

It keeps every record in memory: it knows neither retention nor the deletion of records (tried), so
what the folds have taken in stays too.
"""

import asyncio
import logging

from processor.embedded.broker import EmbeddedBroker
from processor.errors import CapacityError

logger = logging.getLogger(__name__)

#: Seconds between looks: at full load it takes in a few MiB meanwhile.
_EVERY = 1.0


class BrokerMemoryGuard:
    """Refuses new events once the broker's process holds ``most`` bytes, None = never."""

    def __init__(self, broker: EmbeddedBroker, most: int | None) -> None:
        self.most = most
        self.held = 0
        """Bytes at the last look."""
        self.last_error = ""
        """Why new events are refused."""
        self._broker = broker

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(_EVERY)

    async def measure(self) -> None:
        """See how much it holds."""
        self.held = await self._broker.memory()
        full = self.most is not None and self.held >= self.most
        if full and not self.last_error:
            self.last_error = (
                "new events are refused: the embedded broker keeps all in memory and has reached "
                f"PROCESSOR_MAX_BROKER_MEMORY ({self.most} bytes): raise it, set PROCESSOR_BROKER "
                "to a Kafka, or start with an empty PROCESSOR_DATA"
            )
            logger.error("%s", self.last_error)
        elif not full:
            self.last_error = ""

    def check(self) -> None:
        """`CapacityError` if there is no room."""
        if self.last_error:
            raise CapacityError(self.last_error)
