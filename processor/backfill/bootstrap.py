"""Reading the archive onto the log: once at the first start, then what has changed.

The leader does it. It resumes at the cursors on the control topic, so a new leader repeats one page
of each shard at most, and what is repeated counts once.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from processor.archive.elasticsearch.archive import ElasticsearchArchive, Page, Shard
from processor.backfill.bootstrap_policy import (
    BootstrapPolicy,
    Pair,
    in_memory_from,
    outcomes_of_pairs,
)
from processor.backfill.bootstrap_progress import BootstrapProgress
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.log.observations import IngestMode
from processor.domain.timestamps import HOUR
from processor.errors import ArchiveError, BrokerError
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Shards read at once.
_AT_ONCE = 4
#: Documents decoded in one turn of the loop.
_TURN = 100
#: Seconds between looks for new indices, and of the longest pause after a fault.
_LOOK_AGAIN, _BACKOFF_MOST = 300.0, 60.0
#: Passes at a first start: the later ones are short, and read what has changed meanwhile.
_PASSES, _MAX_ROUND = 3, 1000
#: Tries to write the outcome of a document that changes at the same moment.
_TRIES = 5


class Bootstrap:
    """``horizon`` (ns) is how long a request is kept; ``clock`` gives the time (ns), ``oldest_record``
    that of the source's first record, None where it has none; once ``source_known`` is set, the control
    topic says whether the source has lost records. ``since`` (ns) leaves older documents
    out altogether. ``full`` reads everything once more at each start; ``outcomes``: those of requests
    that are not kept are written here."""

    def __init__(
        self,
        archive: ElasticsearchArchive,
        reader: DocumentReader,
        control: ControlLog,
        observation_producer: Callable[[], ObservationProducer],
        telemetry: Telemetry,
        horizon: int,
        clock: Callable[[], int],
        oldest_record: Callable[[], Awaitable[int | None]],
        source_known: asyncio.Event,
        since: int | None = None,
        full: bool = False,
        outcomes: bool = False,
    ) -> None:
        self.last_error = ""
        """Why the archive can't be read at the moment."""
        self.progress = BootstrapProgress()
        self._archive = archive
        self._reader = reader
        self._control = control
        self._observation_producer = observation_producer
        self._telemetry = telemetry
        self._horizon = horizon
        self._clock = clock
        self._oldest_record = oldest_record
        self._source_known = source_known
        self._since = since
        self._full = full
        self._outcomes = outcomes

    async def run(self) -> None:
        """As the leader, until cancelled: all of the archive, then new indices now and then."""
        try:
            await self._run()
        finally:
            self.last_error = ""  # from here on it is the next leader's

    async def _run(self) -> None:
        # Whether the source has lost what was not read is known then, and on the control topic.
        await self._source_known.wait()
        known: frozenset[str] = frozenset()
        while True:
            for _ in range(_PASSES):
                read = await self._until_it_works(known)
                if self._control.done or read < _MAX_ROUND:
                    break
            if not self._control.done:
                await self._control.write(ControlRecord("done"))
                logger.info("bootstrap: complete, %d documents", self.progress.read)
            known = frozenset(self._control.cursors)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _until_it_works(self, known: frozenset[str]) -> int:
        """A pass; how many documents it read, about."""
        delay = 1.0
        while True:
            try:
                await self._control.refresh()
                await self._note_outcomes()
                # After a gap every shard is looked at again.
                read = await self._pass(known if self._control.gap_since is None else frozenset())
                self.last_error = ""
                return read
            except (ArchiveError, BrokerError) as error:
                self.last_error = str(error)
                logger.warning("bootstrap: %s; next try in %.0f s", error, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, _BACKOFF_MOST)

    async def _note_outcomes(self) -> None:
        """From now on outcomes are written, or not: what was counted in between shows none."""
        if self._outcomes != (self._control.outcomes_since is not None):
            since = self._clock() if self._outcomes else -1
            await self._control.write(ControlRecord("outcomes", position=since))

    def _is_late(self) -> bool:
        """Whether the log has run for so long without this archive that requests which it counted
        have left memory: they can't be told from those that it never saw."""
        late = not self._control.cursors and self._control.made < self._kept_from()
        if late:
            logger.warning(
                "bootstrap: this log is older than PROCESSOR_HORIZON, so only recent documents can "
                "be counted once: use a new PROCESSOR_APP_ID to count the whole archive"
            )
        return late

    def _kept_from(self) -> int:
        return in_memory_from(self._clock(), self._horizon, self._control.evicted)

    async def _pass(self, known: frozenset[str]) -> int:
        """Read every shard from its cursor on, but for those in ``known``."""
        control = self._control
        again = self._full and control.done
        cursors = {} if again else dict(control.cursors)
        ahead = {
            source: shard
            for shard in await self._archive.shards()
            for source in [f"{shard.uuid}/{shard.number}"]
            if source not in known and shard.checkpoint > cursors.get(source, -1)
        }
        total = sum(
            min(shard.documents, shard.checkpoint - cursors.get(source, -1))
            for source, shard in ahead.items()
        )
        # Only a first start counts what is old: later, old documents have been counted.
        whole = not control.done and not self._is_late()
        gap = control.gap_since
        policy = await self._policy(whole, gap) if total else BootstrapPolicy()
        name = "catch-up" if control.done else "bootstrap"
        if total:
            logger.info("%s: %d shards, about %d documents", name, len(ahead), total)
        self.progress.begin(name, total)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(source: str, shard: Shard) -> None:
            async with gate:
                await self._shard(source, shard, cursors.get(source, -1), policy)

        try:
            async with asyncio.TaskGroup() as group:
                for source, shard in ahead.items():
                    group.create_task(read(source, shard))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._full = False
        self.progress.end()
        if gap is not None:
            await control.write(ControlRecord("filled"))
        return total

    async def _policy(self, whole: bool, gap: int | None) -> BootstrapPolicy:
        """Which documents are of requests that need not be kept, and which were counted already."""
        if not whole and gap is None:
            return BootstrapPolicy(counted_before=self._kept_from)
        # What the source holds may speak of a request once more, so that one is kept.
        oldest = await self._oldest_record()
        before = self._clock() - self._horizon
        if oldest is not None:
            before = min(before, oldest - HOUR)
        multi_predictor = await self._archive.multi_predictor()
        if multi_predictor is None:
            logger.info("bootstrap: every request is kept: predictors can't be told apart")
        return BootstrapPolicy(
            settle_before=before if multi_predictor is not None else None,
            multi_predictor=multi_predictor,
            # What came after the gap began was never on the log.
            counted_before=None if whole else lambda: min(self._kept_from(), gap or 0),
        )

    async def _shard(self, source: str, shard: Shard, after: int, policy: BootstrapPolicy) -> None:
        observation_producers = {
            mode: self._observation_producer()
            for mode in (IngestMode.NORMAL, IngestMode.IF_PRESENT, IngestMode.COUNT_AND_DROP)
        }
        async with aclosing(self._archive.pages(shard, after, shard.checkpoint)) as pages:
            async for page in pages:
                settled = await self._add(page, shard, policy, observation_producers)
                for mode, observation_producer in observation_producers.items():
                    await asyncio.gather(*await observation_producer.send(mode))
                if self._outcomes and settled:
                    await self._write_outcomes(settled)
                # After the page's acknowledgement: a new leader may repeat a page, never miss one.
                await self._control.write(
                    ControlRecord("cursor", source=source, position=page.last_seq_no)
                )
                self._telemetry.bootstrap_documents += len(page.documents)
                self.progress.add(len(page.documents))

    async def _add(
        self,
        page: Page,
        shard: Shard,
        policy: BootstrapPolicy,
        observation_producers: dict[IngestMode, ObservationProducer],
    ) -> list[Pair]:
        """Pack a page; the pairs that are counted and not kept."""
        settled: list[Pair] = []
        documents: Sequence[Document] = page.documents
        if policy.settles_before is not None and not self._outcomes:
            since = -1 if self._since is None else self._since
            documents = observation_producers[IngestMode.COUNT_AND_DROP].decode_pairs(
                documents, policy.settles_before, since
            )
        for number, document in enumerate(documents):
            if number % _TURN == 0:
                await asyncio.sleep(0)
            decoded = self._reader.read(document)
            times = [one.time for one in decoded.observations]
            if times and self._since is not None and max(times) < self._since:
                continue
            pair = policy.pair(document, decoded.observations) if not decoded.dead_letters else None
            if pair is not None:
                observation_producers[IngestMode.COUNT_AND_DROP].add_pair(*pair)
                settled.append(pair)
                observation_producers[IngestMode.COUNT_AND_DROP].add_pair_template(
                    document, decoded
                )
                continue
            observation_producer = observation_producers[policy.mode(times)]
            observation_producer.add_decoded(
                decoded,
                (document.index, shard.number, document.seq_no),
                document.id.encode("utf-8", "replace"),
            )
        return settled

    async def _write_outcomes(self, settled: list[Pair]) -> None:
        outcomes = outcomes_of_pairs(settled)
        for _ in range(_TRIES):
            stored = await self._archive.store(outcomes)
            self._telemetry.outcomes_written += stored.written
            if not stored.again:
                return
            again = set(stored.again)
            outcomes = [
                one for one in outcomes if (one.namespace, one.deployment, one.request_id) in again
            ]
            await asyncio.sleep(1.0)
        logger.warning("bootstrap: %d outcomes not written: %s", len(outcomes), stored.last_error)
        self._telemetry.outcomes_missing += len(outcomes)
