"""What stands behind the HTTP door: whoever makes events durable."""

from collections.abc import Sequence
from typing import Protocol

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import ProcessorError


class Overloaded(ProcessorError):
    """More comes in than can be made durable: send again after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EventSink(Protocol):
    """Takes events in; may be called many times at once."""

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Return when all events are durable, with an entry for each: None if it was understood,
        else the dead letter that is kept of it.

        `Overloaded` if the caller is to slow down, `CapacityError` if there is no room (its text is
        told), another `ProcessorError` if it can't be done now; then none of the events counts as
        taken.
        """
        ...
