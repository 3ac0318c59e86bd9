"""Reading the archive onto the log: all of it at the first start, then new documents.

The leader does this. It resumes at the cursors on the control topic, so a new leader repeats at most one
page of each shard, and repeated documents are counted once.
"""

import asyncio
import logging
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
from processor.backoff import LONGEST, Backoff
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.log.observations import IngestMode
from processor.domain.timestamps import HOUR
from processor.errors import ArchiveError, BrokerError
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Shards that are read at the same time.
_MAX_SHARDS = 4
#: Documents that are decoded in one turn of the event loop.
_DOCUMENTS_PER_TURN = 100
#: Seconds between checks for new indices.
_CHECK_EVERY = 300.0
#: The most passes at a first start: the later ones read the documents that changed meanwhile. After a
#: pass over fewer documents there is none.
_MAX_PASSES, _SHORT_PASS = 3, 1000
#: Tries to write the outcome of a document that changes at the same moment.
_MAX_TRIES = 5


class Bootstrap:
    """Reads an archive onto the log, while this worker is the leader.

    ``horizon`` (ns) is how long a request is kept; ``clock`` returns the time (ns); ``oldest_record``
    returns the time (ns) of the source's first record, or None if the source is empty. Once
    ``source_known`` is set, the control topic says whether the source has lost records. Documents from
    before ``since`` (ns) are ignored. With ``full`` all documents are read again at each start. With
    ``outcomes`` the outcomes of completed requests are written to their documents.
    """

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
        """Why the archive cannot be read at the moment; empty if it can."""
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
        """Read the archive, then check for new documents every 300 s, until cancelled."""
        try:
            await self._run()
        finally:
            self.last_error = ""  # the next leader reports its own errors

    async def _run(self) -> None:
        # Only then the control topic says whether the source has lost records.
        await self._source_known.wait()
        known: frozenset[str] = frozenset()
        while True:
            for _ in range(_MAX_PASSES):
                read = await self._retry_pass(known)
                if self._control.done or read < _SHORT_PASS:
                    break
            if not self._control.done:
                await self._control.write(ControlRecord("done"))
                logger.info("bootstrap: complete, %d documents", self.progress.read)
            known = frozenset(self._control.cursors)
            await asyncio.sleep(_CHECK_EVERY)

    async def _retry_pass(self, known: frozenset[str]) -> int:
        """Try a pass until it succeeds; returns about how many documents it read."""
        backoff = Backoff(1.0, LONGEST)
        while True:
            try:
                await self._control.refresh()
                await self._note_outcomes()
                # After a gap every shard is read again.
                read = await self._pass(known if self._control.gap_since is None else frozenset())
                self.last_error = ""
                return read
            except (ArchiveError, BrokerError) as error:
                self.last_error = str(error)
                logger.debug("bootstrap: %s; next try in %.0f s", error, backoff.delay)
                await backoff.sleep()

    async def _note_outcomes(self) -> None:
        """Record on the control topic that outcomes are written from now on, or no longer."""
        if self._outcomes != (self._control.outcomes_since is not None):
            since = self._clock() if self._outcomes else -1
            await self._control.write(ControlRecord("outcomes", position=since))

    def _is_late(self) -> bool:
        """Whether the log ran without this archive until requests that it counted left memory: these
        cannot be distinguished from requests that were never on the log."""
        late = not self._control.cursors and self._control.created_at < self._kept_from()
        if late:
            logger.warning(
                "bootstrap: this log is older than PROCESSOR_HORIZON, so only recent documents can "
                "be counted once: use a new PROCESSOR_APP_ID to count the whole archive"
            )
        return late

    def _kept_from(self) -> int:
        return in_memory_from(self._clock(), self._horizon, self._control.evicted)

    async def _pass(self, known: frozenset[str]) -> int:
        """Read each shard from its cursor on, except for the shards in ``known``."""
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
        # Only a first start counts old documents: at later starts they have been counted.
        whole = not control.done and not self._is_late()
        gap = control.gap_since
        policy = await self._policy(whole, gap) if total else BootstrapPolicy()
        name = "catch-up" if control.done else "bootstrap"
        if total:
            logger.info("%s: %d shards, about %d documents", name, len(ahead), total)
        self.progress.begin(name, total)
        gate = asyncio.Semaphore(_MAX_SHARDS)

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
        """Decide which requests need not be kept, and which documents were counted already."""
        if not whole and gap is None:
            return BootstrapPolicy(counted_before=self._kept_from)
        # The source may hold more events of a request as old as its records: such a request is kept.
        oldest = await self._oldest_record()
        before = self._clock() - self._horizon
        if oldest is not None:
            before = min(before, oldest - HOUR)
        multi_predictor = await self._archive.multi_predictor()
        if multi_predictor is None:
            logger.info("bootstrap: every request is kept, since predictors cannot be told apart")
        return BootstrapPolicy(
            completed_before=before if multi_predictor is not None else None,
            multi_predictor=multi_predictor,
            # Events that came after the beginning of the gap were never on the log.
            counted_before=None if whole else lambda: min(self._kept_from(), gap or 0),
        )

    async def _shard(self, source: str, shard: Shard, after: int, policy: BootstrapPolicy) -> None:
        observation_producers = {
            mode: self._observation_producer()
            for mode in (IngestMode.NORMAL, IngestMode.IF_PRESENT, IngestMode.COUNT_AND_DROP)
        }
        async with aclosing(self._archive.pages(shard, after, shard.checkpoint)) as pages:
            async for page in pages:
                completed = await self._add(page, shard, policy, observation_producers)
                for mode, observation_producer in observation_producers.items():
                    await asyncio.gather(*await observation_producer.send(mode))
                if self._outcomes and completed:
                    await self._write_outcomes(completed)
                # After the page's acknowledgement: a new leader may repeat a page, but never skip one.
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
        """Queue a page's observations; returns the pairs of completed requests."""
        completed: list[Pair] = []
        documents: Sequence[Document] = page.documents
        pair_producer = observation_producers[IngestMode.COUNT_AND_DROP]
        before = policy.all_completed_before
        if before is not None and not self._outcomes:
            since = -1 if self._since is None else self._since
            documents = pair_producer.decode_pairs(documents, before, since)
        for number, document in enumerate(documents):
            if number % _DOCUMENTS_PER_TURN == 0:
                await asyncio.sleep(0)
            decoded = self._reader.read(document)
            times = [one.time for one in decoded.observations]
            if times and self._since is not None and max(times) < self._since:
                continue
            pair = policy.pair(document, decoded.observations) if not decoded.dead_letters else None
            if pair is not None:
                pair_producer.add_pair(*pair)
                completed.append(pair)
                pair_producer.add_pair_template(document, decoded)
                continue
            observation_producers[policy.mode(times)].add_decoded(
                decoded,
                (document.index, shard.number, document.seq_no),
                document.id.encode("utf-8", "replace"),
            )
        return completed

    async def _write_outcomes(self, pairs: list[Pair]) -> None:
        outcomes = outcomes_of_pairs(pairs)
        for _ in range(_MAX_TRIES):
            stored = await self._archive.store(outcomes)
            self._telemetry.outcomes_written += stored.written
            if not stored.retry:
                return
            again = set(stored.retry)
            outcomes = [
                one for one in outcomes if (one.namespace, one.deployment, one.request_id) in again
            ]
            await asyncio.sleep(1.0)
        logger.warning("bootstrap: %d outcomes not written: %s", len(outcomes), stored.last_error)
        self._telemetry.outcomes_missing += len(outcomes)
