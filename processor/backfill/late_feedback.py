"""Late feedback: the predictions of feedback without a prediction are looked up in the archive (counting
rule 18).

Predictions that are found are put on the log as observations, like all events that count.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping

from processor.archive.base import Archive, RequestKey
from processor.backfill.retry_loop import RetryLoop
from processor.domain.join.fold import JoinFold
from processor.domain.join.request_store import RequestRef
from processor.domain.log.observations import IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.kafka.control_log import ControlLog
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

#: Seconds before each try: the prediction may still be on its way to the log, and its document may be
#: written after the feedback's event.
_TRIES = (5.0, 25.0, 270.0, 3300.0)
#: The most requests of one round.
_MAX_REQUESTS = 2000

#: A planned look-up: when it is due, the number of the try, the partition, the request.
_Entry = tuple[float, int, int, RequestRef]


class LateFeedbackLookup(RetryLoop):
    """Looks up the predictions of this worker's unmatched feedback.

    ``folds`` returns the folds of the join's open partitions. ``in_memory_from`` takes the time (ns)
    before which requests may have been evicted, and returns the time (ns) since which each request that
    was ever on the log is in memory; None if all documents of the archive were on the log.
    """

    def __init__(
        self,
        archive: Archive,
        rules: ModelRules,
        control: ControlLog,
        observation_producer: ObservationProducer,
        folds: Callable[[], Mapping[int, JoinFold]],
        telemetry: Telemetry,
        in_memory_from: Callable[[int], int | None],
    ) -> None:
        super().__init__("late feedback")
        self._archive = archive
        self._rules = rules
        self._control = control
        self._observation_producer = observation_producer
        self._folds = folds
        self._telemetry = telemetry
        self._in_memory_from = in_memory_from
        self._seen: dict[int, JoinFold] = {}
        self._due: list[_Entry] = []

    async def run(self, read: asyncio.Event) -> None:
        """Look up until cancelled, after the archive was ``read`` once.

        Before, documents that were not read yet look like documents that were counted.
        """
        await read.wait()
        await self._run_forever(self._round)

    def _collect(self) -> None:
        """Plan look-ups of new unmatched feedback; for a newly assigned partition, of all of it."""
        folds = self._folds()
        first = time.monotonic() + _TRIES[0]
        for number, fold in folds.items():
            if fold.unmatched is None:
                continue
            if self._seen.get(number) is not fold:
                waiting = list(fold.unmatched_refs())
            else:
                waiting = list(fold.unmatched)
            fold.unmatched.clear()
            for ref in waiting:
                heapq.heappush(self._due, (first, 0, number, ref))
        self._seen = dict(folds)

    async def _round(self) -> str:
        self._collect()
        due = self._take_due()
        if not due:
            return ""
        try:
            await self._control.refresh()
            wanted = {_key(self._seen[number], ref): ref for _, _, number, ref in due}
            self._telemetry.lookups += len(wanted)
            found = await self._restore(list(wanted))
        except BaseException:
            for entry in due:
                heapq.heappush(self._due, entry)
            raise
        now = time.monotonic()
        for _, attempt, number, ref in due:
            if _key(self._seen[number], ref) not in found and attempt + 1 < len(_TRIES):
                following = (now + _TRIES[attempt + 1], attempt + 1, number, ref)
                heapq.heappush(self._due, following)
        return ""

    def _take_due(self) -> list[_Entry]:
        """Take the look-ups that are due, and whose feedback is still unmatched."""
        now = time.monotonic()
        taken: list[_Entry] = []
        while self._due and self._due[0][0] <= now and len(taken) < _MAX_REQUESTS:
            entry = heapq.heappop(self._due)
            fold = self._seen.get(entry[2])
            if fold is not None and fold.is_unmatched(entry[3]):
                taken.append(entry)
        return taken

    async def _restore(self, wanted: list[RequestKey]) -> set[RequestKey]:
        """Put the archive's observations on the log; returns the requests with a prediction."""
        found: set[RequestKey] = set()
        new, restored, expired = [], [], []
        in_memory_from = self._in_memory_from(self._control.evicted)
        since = self._control.outcomes_since
        async for batch in self._archive.lookup(wanted, self._rules):
            for request, stored, judged in batch:
                predictions = [one for one in stored if isinstance(one, Prediction)]
                if not predictions:
                    continue
                found.add(request)
                predicted_at = predictions[0].time
                if in_memory_from is not None and predicted_at >= in_memory_from:
                    new += stored  # the request was never on the log
                elif since is not None and predicted_at >= since and not judged:
                    restored += predictions
                else:
                    expired += predictions
        # A prediction that can be judged comes before an expired one of the same request.
        for mode, observations in (
            (IngestMode.NORMAL, new),
            (IngestMode.RESTORED, restored),
            (IngestMode.EXPIRED, expired),
        ):
            for observation in observations:
                self._observation_producer.add_observation(observation)
            await asyncio.gather(*await self._observation_producer.send(mode))
        self._telemetry.recalled += len(restored) + len(new)
        return found


def _key(fold: JoinFold, ref: RequestRef) -> RequestKey:
    namespace, deployment = fold.state.deployments[ref[0]]
    return RequestKey(namespace, deployment, ref[1])
