"""What every kind of archive offers, in terms of requests. How one is read on from a position is a
matter of its kind: SQLite holds raw events in one order, Elasticsearch documents in one per shard."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from processor.domain.join.outcomes import RequestOutcome
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules


class RequestKey(NamedTuple):
    """Which request."""

    namespace: str
    deployment: str
    request_id: str


class Held(NamedTuple):
    """What one document, or event, says of a request; what can't be understood is left out."""

    request: RequestKey
    said: list[Prediction | Feedback]
    judged: bool
    """Whether the archive shows an outcome of the prediction in it."""


class Stored(msgspec.Struct):
    """What became of outcomes: documents (of SQLite: items) written; requests that the archive does
    not hold (yet), and those that changed meanwhile or could not be written, to be tried again."""

    written: int = 0
    missing: list[RequestKey] = []
    again: list[RequestKey] = []
    last_error: str = ""
    """Why some could not be written, for people."""


class Archive(Protocol):
    """What outlives the log. Its methods raise `ArchiveError` while it can't be used."""

    async def count(self) -> int:
        """How much it holds: events, or documents."""
        ...

    def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """All that it says, in batches."""
        ...

    def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[Held]]:
        """What it holds of these requests, in batches: every prediction and feedback."""
        ...

    async def store(self, outcomes: Sequence[RequestOutcome]) -> Stored:
        """Keep what became of requests, in place of what was kept before; to be repeated does no
        harm."""
        ...

    async def close(self) -> None:
        """Let go of files and connections; to be called again does no harm."""
        ...
