"""How much may be in the HTTP door at once, how long it may stay, and how the door closes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processor.ingress.answers import Refusal

log = logging.getLogger(__name__)

#: Seconds for a body to arrive: a slow sender holds a place among those in flight.
BODY_DEADLINE = 30.0
#: Seconds for its events to become durable: a sender that hears nothing can't choose to wait.
STORE_DEADLINE = 10.0
#: Seconds that requests in flight get at the end; the whole process has 9 to end in.
DRAIN_DEADLINE = 4.0
#: Bytes of all bodies in flight: as many requests as may come, of as many bytes as each may have,
#: would be more memory than there is.
MAX_BYTES = 256 << 20
#: Seconds after which to come again: when all places are taken, when storing fails, and when somebody
#: has to act first.
SOON, LATER, MUCH_LATER = 1.0, 5.0, 60.0


class Place:
    """One request's place among those in flight."""

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self.limit = asyncio.timeout(BODY_DEADLINE)
        self.bytes = 0
        self.is_stored = False
        """Whether its body is here, and the rest is a matter of storing it."""

    def add(self, size: int) -> None:
        """So many more bytes of it are in memory; `Refusal` if all together are too many."""
        self.bytes += size
        self._gate.bytes += size
        if self._gate.bytes > self._gate.max_bytes:
            raise Refusal.again(429, "overloaded", "too many bytes are in flight", SOON)

    def store(self) -> None:
        """The body is complete: from now on the time runs for storing it."""
        self.is_stored = True
        # Not where the door closes in this moment: then the time is up already.
        if not self.limit.expired() and not self._gate.is_cut:
            self.limit.reschedule(asyncio.get_running_loop().time() + STORE_DEADLINE)

    def end(self) -> None:
        """Its time is up."""
        if not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time())


class Gate:
    """Counts requests in flight, and the bytes of their bodies."""

    def __init__(self, max_in_flight: int, max_body: int) -> None:
        self._max_in_flight = max_in_flight
        self.max_bytes = max(MAX_BYTES, max_body)
        self.bytes = 0
        self.is_draining = False
        self.is_cut = False
        self._places: set[Place] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """Requests that are being read or stored now."""
        return len(self._places)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[Place]:
        """A place while inside; `Refusal` if there is none, or the time is up."""
        if self.is_draining:
            raise _stopping()
        if len(self._places) >= self._max_in_flight:
            raise Refusal.again(
                429, "overloaded", f"{len(self._places)} requests are in flight", SOON
            )
        place = Place(self)
        self._places.add(place)
        self._idle.clear()
        try:
            async with place.limit:
                yield place
        except TimeoutError:
            if not place.limit.expired():
                raise
            raise self._too_late(place) from None
        finally:
            self.bytes -= place.bytes
            self._places.discard(place)
            if not self._places:
                self._idle.set()

    def _too_late(self, place: Place) -> Refusal:
        if self.is_cut:
            return _stopping()
        if place.is_stored:
            detail = f"the events were not stored within {STORE_DEADLINE:g} s: send them again"
            return Refusal.again(503, "unavailable", detail, LATER)
        return Refusal(408, "too_slow", f"no body within {BODY_DEADLINE:g} s").closing()

    async def drain(self, deadline: float) -> bool:
        """Refuse new requests and wait for those in flight; after ``deadline`` seconds those left
        are answered with 503, and it is False. Their events may be stored all the same, and come
        again: repeats count once."""
        self.is_draining = True
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d requests did not end within %g s", len(self._places), deadline)
            self.is_cut = True
            for place in self._places:
                place.end()
            await self._idle.wait()
            return False
        return True


def _stopping() -> Refusal:
    return Refusal.again(503, "shutting_down", "the processor is stopping", LATER).closing()
