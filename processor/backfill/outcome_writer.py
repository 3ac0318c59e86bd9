"""Telling the archive what became of each request, beside the stream and never in its way."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

from processor.archive.base import Archive
from processor.backfill.retry_loop import RetryLoop
from processor.domain.join.fold import JoinFold
from processor.domain.join.outcomes import RequestOutcome, outcome_of
from processor.domain.join.request_store import RequestRef
from processor.telemetry import Telemetry

#: Requests of one round, and how many may wait in a partition.
_ROUND, MAX_WAITING = 500, 200_000
#: Seconds between tries of a request without a document: the logger may be slower than the stream.
_TRIES = (5.0, 25.0, 270.0, 1500.0)


class OutcomeWriter(RetryLoop):
    """Writes the outcomes of this worker's partitions; ``folds`` gives those that are open.

    A request stays in its fold's ``judged`` until its documents show its outcome, and goes into the
    snapshot with it, so neither a crash nor an archive that is away loses one.
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
        self._behind: set[int] = set()

    @property
    def waiting(self) -> int:
        """Requests whose outcome is to be written."""
        return sum(len(fold.judged or ()) for fold in self._folds().values())

    async def run(self) -> None:
        """Until cancelled."""
        await self._run_forever(self._round)

    async def _round(self) -> str:
        last_error = ""
        for number, fold in self._folds().items():
            last_error = await self._drain(number, fold) or last_error
        return last_error

    async def _drain(self, number: int, fold: JoinFold) -> str:
        """Write what waits in one partition; why some could not be written."""
        judged = fold.judged
        if judged is None:
            return ""
        if len(judged) > MAX_WAITING:
            # They are all in memory: once the archive answers, all that it holds is offered.
            judged.clear()
            self._behind.add(number)
        last_error = ""
        while refs := self._due(number, judged):
            last_error = await self._write(number, fold, judged, refs) or last_error
        if number in self._behind:
            async for refs in _all_judged(fold):
                await self._write(number, fold, judged, refs)
            self._behind.discard(number)
        return last_error

    def _due(self, number: int, judged: dict[RequestRef, int]) -> dict[RequestRef, int]:
        now = time.monotonic()
        found = {}
        for ref, offset in judged.items():
            if self._tries.get((number, ref), (0, 0.0))[1] <= now:
                found[ref] = offset
                if len(found) == _ROUND:
                    break
        return found

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
        held = {ref for ref, _ in outcomes.values()}
        unwritten = {outcomes[key][0] for key in (*stored.missing, *stored.retry)}
        now = time.monotonic()
        for ref, offset in refs.items():
            attempt, _ = self._tries.pop((number, ref), (0, 0.0))
            if ref in unwritten and attempt < len(_TRIES):
                judged.setdefault(ref, offset)
                self._tries[number, ref] = attempt + 1, now + _TRIES[attempt]
                continue
            # Without a document, or gone from memory while the archive was away for the horizon.
            self._telemetry.outcomes_missing += ref in unwritten or ref not in held
            if judged.get(ref) == offset:  # else it has changed meanwhile
                del judged[ref]
        return stored.last_error


async def _all_judged(fold: JoinFold) -> AsyncIterator[dict[RequestRef, int]]:
    """Every judged request in memory, some at a time; what changes meanwhile is noted anyway."""
    some: dict[RequestRef, int] = {}
    for seen, (ref, request) in enumerate(fold.refs(), 1):
        if request.predictions and request.feedbacks:
            some[ref] = -1
        if seen % _ROUND == 0:
            if some:
                yield some
                some = {}
            await asyncio.sleep(0)
    if some:
        yield some
