"""The interface to the component that knows which requests have a prediction."""

from typing import Protocol


class RequestLookup(Protocol):
    """Tells whether feedback for a request would find a prediction now."""

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """Return True if a prediction for the request is in memory, False if there is none yet, and
        None if this process cannot tell: another worker holds the request's partition, or this one is
        still reading its log or the archive.

        It is called on the thread of the event loop, only reads, and never waits.
        """
        ...


class NoLookup:
    """A `RequestLookup` that cannot tell of any request."""

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """See `RequestLookup`."""
        return None
