"""Late truth: feedback that finds no prediction is looked up in the archive (counting rule 18).

What is found enters as observations on the log, like everything that counts.
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

#: Seconds after which a request is looked for, one by one: its event may be on the way still, and its
#: document may be written after the feedback's event.
_TRIES = (5.0, 25.0, 270.0, 3300.0)
#: Requests of one round.
_ROUND = 2000

#: When it is due, which try it is, partition, request.
_Entry = tuple[float, int, int, RequestRef]


class LateFeedbackLookup(RetryLoop):
    """Looks for the predictions of this worker's waiting feedback.

    ``folds`` gives the open partitions of the join, ``in_memory_from`` the time (ns) from which on
    every request is in memory if it was ever on the log, by the time before which some have left it
    early; None: all that the archive holds was on the log.
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
        super().__init__("late truth")
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
        """Until cancelled, from when the archive was ``read`` once: before, what was not read yet
        looks like what was counted."""
        await read.wait()
        await self._run_forever(self._round)

    def _collect(self) -> None:
        """Note what waits since the last time; of a partition that is new here, all that does."""
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
        due = self._take()
        if not due:
            return ""
        try:
            await self._control.refresh()
            wanted = {_key(self._seen[number], ref): ref for _, _, number, ref in due}
            self._telemetry.lookups += len(wanted)
            found = await self._look_up(list(wanted))
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

    def _take(self) -> list[_Entry]:
        """What is due and waits still."""
        now = time.monotonic()
        taken: list[_Entry] = []
        while self._due and self._due[0][0] <= now and len(taken) < _ROUND:
            entry = heapq.heappop(self._due)
            fold = self._seen.get(entry[2])
            if fold is not None and fold.is_unmatched(entry[3]):
                taken.append(entry)
        return taken

    async def _look_up(self, wanted: list[RequestKey]) -> set[RequestKey]:
        """Put what the archive has on the log; the requests that it has an answer to."""
        found: set[RequestKey] = set()
        whole, recalled, late = [], [], []
        in_memory_from = self._in_memory_from(self._control.evicted)
        since = self._control.outcomes_since
        async for batch in self._archive.lookup(wanted, self._rules):
            for request, said, judged in batch:
                made = [one for one in said if isinstance(one, Prediction)]
                if not made:
                    continue
                found.add(request)
                if in_memory_from is not None and made[0].time >= in_memory_from:
                    whole += said  # it was never on the log
                elif since is not None and made[0].time >= since and not judged:
                    recalled += made
                else:
                    late += made
        # One that can be judged comes before another of its request that says it is too late.
        for mode, observations in (
            (IngestMode.NORMAL, whole),
            (IngestMode.RESTORED, recalled),
            (IngestMode.EXPIRED, late),
        ):
            for observation in observations:
                self._observation_producer.add_observation(observation)
            await asyncio.gather(*await self._observation_producer.send(mode))
        self._telemetry.recalled += len(recalled) + len(whole)
        return found


def _key(fold: JoinFold, ref: RequestRef) -> RequestKey:
    namespace, deployment = fold.state.deployments[ref[0]]
    return RequestKey(namespace, deployment, ref[1])
