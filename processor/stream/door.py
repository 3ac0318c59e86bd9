"""The log behind the HTTP door: an event is taken in once its record is acknowledged."""

import asyncio
from collections.abc import Sequence

from processor.domain.events import DeadLetter, RawEvent
from processor.stream.connection import FAULTS, explain
from processor.stream.packer import Origin, Packer

_ORIGIN: Origin = ("http", 0, 0)


class LogDoor:
    """Puts events on the log at once; see the ingress room's ``Door``."""

    def __init__(self, packer: Packer, servers: tuple[str, ...]) -> None:
        self._packer = packer
        self._servers = servers

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Decode, send and wait for the acknowledgement."""
        # No await between adding and sending: what others add goes with their own calls.
        verdicts = [self._packer.add(event, _ORIGIN) for event in events]
        try:
            await asyncio.gather(*await self._packer.send())
        except FAULTS as error:
            raise explain(error, self._servers) from None
        return verdicts
