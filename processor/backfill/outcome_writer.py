"""Writing the outcome of each request to the archive, beside the stream and without delaying it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

from processor.archive.base import Archive
from processor.backfill.retry_loop import RetryLoop
from processor.domain.join.fold import JoinFold
from processor.domain.join.outcomes import RequestOutcome, outcome_of
from processor.domain.join.request_store import RequestRef
from processor.telemetry import Telemetry

#: The most requests of one write, and the most that may wait in a partition.
_MAX_REQUESTS, MAX_WAITING = 500, 200_000
#: Seconds before further tries of a request without a document: the request logger may be slower than
#: the stream.
_TRIES = (5.0, 25.0, 270.0, 1500.0)


class OutcomeWriter(RetryLoop):
    """Writes the outcomes of this worker's open partitions, which ``folds`` returns.

    A request stays in its fold's ``judged`` until its documents show its outcome. Snapshots contain
    ``judged``, so no outcome is lost in a crash, or while the archive is away.
    """

    def __init__(
        self,
        archive: Archive,
        folds: Callable[[], Mapping[int, JoinFold]],
        telemetry: Telemetry,
    ) -> None:
        super().__init__("outcomes")
        self._archive = archive
        self._folds = folds
        self._telemetry = telemetry
        self._tries: dict[tuple[int, RequestRef], tuple[int, float]] = {}
        self._overflowed: set[int] = set()
        """Partitions in which too many requests waited: all their judged requests are written."""

    @property
    def waiting(self) -> int:
        """The number of requests whose outcome is not written yet."""
        return sum(len(fold.judged or ()) for fold in self._folds().values())

    async def run(self) -> None:
        """Write outcomes until cancelled."""
        await self._run_forever(self._round)

    async def _round(self) -> str:
        last_error = ""
        for number, fold in self._folds().items():
            last_error = await self._drain(number, fold) or last_error
        return last_error

    async def _drain(self, number: int, fold: JoinFold) -> str:
        """Write the waiting outcomes of a partition; returns why some could not be written, or an
        empty string."""
        judged = fold.judged
        if judged is None:
            return ""
        if len(judged) > MAX_WAITING:
            # All of them are in memory: once the archive answers, each judged request is written.
            judged.clear()
            self._overflowed.add(number)
        last_error = ""
        while refs := self._due(number, judged):
            last_error = await self._write(number, fold, judged, refs) or last_error
        if number in self._overflowed:
            async for refs in _all_judged(fold):
                await self._write(number, fold, judged, refs)
            self._overflowed.discard(number)
        return last_error

    def _due(self, number: int, judged: dict[RequestRef, int]) -> dict[RequestRef, int]:
        now = time.monotonic()
        due = {}
        for ref, offset in judged.items():
            if self._tries.get((number, ref), (0, 0.0))[1] <= now:
                due[ref] = offset
                if len(due) == _MAX_REQUESTS:
                    break
        return due

    async def _write(
        self,
        number: int,
        fold: JoinFold,
        judged: dict[RequestRef, int],
        refs: dict[RequestRef, int],
    ) -> str:
        outcomes: dict[tuple[str, str, str], tuple[RequestRef, RequestOutcome]] = {}
        for ref in refs:
            outcome = outcome_of(fold, ref)
            if outcome is not None:
                key = (outcome.namespace, outcome.deployment, outcome.request_id)
                outcomes[key] = ref, outcome
        stored = await self._archive.store([outcome for _, outcome in outcomes.values()])
        self._telemetry.outcomes_written += stored.written
        in_memory = {ref for ref, _ in outcomes.values()}
        unwritten = {outcomes[key][0] for key in (*stored.missing, *stored.retry)}
        now = time.monotonic()
        for ref, offset in refs.items():
            attempt, _ = self._tries.pop((number, ref), (0, 0.0))
            if ref in unwritten and attempt < len(_TRIES):
                judged.setdefault(ref, offset)
                self._tries[number, ref] = attempt + 1, now + _TRIES[attempt]
                continue
            # It has no document, or it left memory while the archive was away for the horizon.
            self._telemetry.outcomes_missing += ref in unwritten or ref not in in_memory
            if judged.get(ref) == offset:  # or else its outcome has changed meanwhile
                del judged[ref]
        return stored.last_error


async def _all_judged(fold: JoinFold) -> AsyncIterator[dict[RequestRef, int]]:
    """Yield the judged requests in memory, in groups; ``judged`` gets those that change meanwhile."""
    group: dict[RequestRef, int] = {}
    for seen, (ref, request) in enumerate(fold.refs(), 1):
        if request.predictions and request.feedbacks:
            group[ref] = -1
        if seen % _MAX_REQUESTS == 0:
            if group:
                yield group
                group = {}
            await asyncio.sleep(0)
    if group:
        yield group
