"""The interface of every archive, in terms of requests.

Reading on from a position is not part of it: SQLite holds raw events in one order, Elasticsearch
holds documents in one order per shard.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from processor.domain.join.outcomes import RequestOutcome
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules


class RequestKey(NamedTuple):
    """A request: the deployment that answered it, and its id there."""

    namespace: str
    deployment: str
    request_id: str


class ArchivedRecord(NamedTuple):
    """The observations in one archived document or event, without those that can't be decoded."""

    request: RequestKey
    observations: list[Prediction | Feedback]
    has_outcome: bool
    """Whether the archive shows an outcome of the record's prediction."""


class StoreResult(msgspec.Struct):
    """The result of storing outcomes."""

    written: int = 0
    """Documents written (SQLite: items)."""
    missing: list[RequestKey] = []
    """Requests that the archive does not hold, or not yet."""
    retry: list[RequestKey] = []
    """Requests to try again: they changed meanwhile, or could not be written."""
    last_error: str = ""
    """Why a request could not be written; empty if none failed."""


class Archive(Protocol):
    """A store of events that outlives the log. Its methods raise `ArchiveError` while it can't be
    used."""

    async def count(self) -> int:
        """The number of records that the archive holds: events, or documents."""
        ...

    def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """All observations in the archive, in batches."""
        ...

    def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[ArchivedRecord]]:
        """The archived predictions and feedback of some requests, in batches."""
        ...

    async def store(self, outcomes: Sequence[RequestOutcome]) -> StoreResult:
        """Store the outcomes of requests, in place of their earlier ones; may be repeated."""
        ...

    async def close(self) -> None:
        """Close files and connections; may be called again."""
        ...
