"""Limits of the HTTP ingress: requests and bytes in flight, deadlines, and the drain at the end."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processor.ingress.answers import Refusal

log = logging.getLogger(__name__)

#: Seconds for a body to arrive: a slow sender occupies one of the slots.
BODY_DEADLINE = 30.0
#: Seconds for the events to become durable: a sender without a response can't choose to wait.
STORE_DEADLINE = 10.0
#: Seconds that requests in flight get when the service stops; the whole process has 9 to end in.
DRAIN_DEADLINE = 4.0
#: Bytes of all bodies in flight: the largest number of requests times the largest body would be more
#: than the memory of the machine.
MAX_BYTES = 256 << 20
#: Seconds for Retry-After: when all slots are taken, and when storing fails.
SOON, LATER = 1.0, 5.0


class Slot:
    """A request in flight: its deadline, and the bytes of its body in memory."""

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self.timeout = asyncio.timeout(BODY_DEADLINE)
        self.bytes = 0
        self.is_storing = False
        """Whether the body is complete, so that only storing it remains."""

    def add(self, size: int) -> None:
        """Count bytes of the body; `Refusal` if all bodies in flight are too large together."""
        self.bytes += size
        self._gate.bytes += size
        if self._gate.bytes > self._gate.max_bytes:
            raise Refusal.retry(429, "overloaded", "too many bytes are in flight", SOON)

    def begin_storing(self) -> None:
        """The body is complete: replace its deadline by the one for storing the events."""
        self.is_storing = True
        # Once the gate aborts requests, the deadline has passed already.
        if not self.timeout.expired() and not self._gate.is_aborting:
            self.timeout.reschedule(asyncio.get_running_loop().time() + STORE_DEADLINE)

    def abort(self) -> None:
        """Let the deadline pass now."""
        if not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


class Gate:
    """Limits the requests in flight to ``max_in_flight``, and the bytes of all their bodies to
    `MAX_BYTES`, or ``max_body`` if that is more."""

    def __init__(self, max_in_flight: int, max_body: int) -> None:
        self._max_in_flight = max_in_flight
        self.max_bytes = max(MAX_BYTES, max_body)
        self.bytes = 0
        self.is_draining = False
        self.is_aborting = False
        self._slots: set[Slot] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """The number of requests that are being read or stored."""
        return len(self._slots)

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[Slot]:
        """A slot for the duration of a request; `Refusal` if all are taken, or a deadline passes."""
        if self.is_draining:
            raise _stopping()
        if len(self._slots) >= self._max_in_flight:
            raise Refusal.retry(
                429, "overloaded", f"{len(self._slots)} requests are in flight", SOON
            )
        slot = Slot(self)
        self._slots.add(slot)
        self._idle.clear()
        try:
            async with slot.timeout:
                yield slot
        except TimeoutError:
            if not slot.timeout.expired():
                raise
            raise self._too_late(slot) from None
        finally:
            self.bytes -= slot.bytes
            self._slots.discard(slot)
            if not self._slots:
                self._idle.set()

    def _too_late(self, slot: Slot) -> Refusal:
        if self.is_aborting:
            return _stopping()
        if slot.is_storing:
            detail = f"the events were not stored within {STORE_DEADLINE:g} s: send them again"
            return Refusal.retry(503, "unavailable", detail, LATER)
        return Refusal(408, "too_slow", f"no body within {BODY_DEADLINE:g} s").closing()

    async def drain(self, deadline: float) -> bool:
        """Refuse new requests and wait ``deadline`` seconds for those in flight. The remaining ones
        get 503, and the result is False: their events may be stored nevertheless and sent again, but
        duplicates count once."""
        self.is_draining = True
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d requests did not end within %g s", len(self._slots), deadline)
            self.is_aborting = True
            for slot in self._slots:
                slot.abort()
            await self._idle.wait()
            return False
        return True


def _stopping() -> Refusal:
    return Refusal.retry(503, "shutting_down", "the processor is stopping", LATER).closing()
