"""The interface to the component that makes the received events durable."""

from collections.abc import Sequence
from typing import Protocol

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import ProcessorError


class Overloaded(ProcessorError):
    """Events arrive faster than they can be made durable: send again after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EventSink(Protocol):
    """Makes events durable; supports concurrent calls."""

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Return once all events are durable, with an entry for each: None if it was decoded, else
        the dead letter that is kept in its place.

        `Overloaded` if the caller should slow down, another `ProcessorError` if the events can't be
        stored now. After an error none of the events counts as accepted.
        """
        ...
