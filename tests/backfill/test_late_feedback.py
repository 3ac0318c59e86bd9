"""Late feedback and outcomes with the SQLite archive: requests that left memory are counted once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

import processor.backfill.late_feedback as late_feedback
import processor.backfill.outcome_writer as outcome_writer
import processor.backfill.retry_loop as retry_loop
from processor.archive.sqlite.archive import SqliteArchive
from processor.backfill.late_feedback import LateFeedbackLookup
from processor.backfill.outcome_writer import OutcomeWriter
from processor.domain.events.decoder import Decoder
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import BatchBuilder, Feedback, IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import HOUR
from processor.kafka.control_log import ControlLog
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry
from tests.support.archives.harness import Fact, answer, event_of, publish, truth
from tests.support.domain.join_model import sums_of, unpacked
from tests.support.faults.cluster import until

HORIZON = 7 * 24 * HOUR


class _Control:
    evicted = 0

    def __init__(self, outcomes_since: int | None) -> None:
        self.outcomes_since = outcomes_since

    async def refresh(self) -> None:
        pass


class _Partition:
    """The only partition of a log, which is folded at once: it acts as an `ObservationProducer`."""

    def __init__(self, archive: SqliteArchive) -> None:
        self.archive = archive
        self.telemetry = Telemetry()
        self.fold = JoinFold("epoch", 0, 1, HORIZON, self.telemetry)
        self.fold.unmatched, self.fold.judged = {}, {}
        self.now = 500_000 * HOUR
        self._builder = BatchBuilder()
        self._offset = 0
        self._deltas: list[DeltaBatch] = []
        self._decoder = Decoder(ModelRules(), Telemetry())

    def add_observation(self, observation: Prediction | Feedback) -> None:
        self._builder.add(observation)

    async def send(self, mode: IngestMode = IngestMode.NORMAL) -> list[asyncio.Future[object]]:
        self._offset += 1
        batch = self._builder.build("epoch", mode)
        self._deltas += unpacked(self.fold.apply(self._offset, self.now, batch)).values()
        return []

    async def put(self, *facts: Fact) -> None:
        """Put events into the archive, then on the log, then into the archive's index."""
        events = [event_of(fact) for fact in facts]
        await self.archive.append(events)
        for event in events:
            (observation,) = self._decoder.decode(*event).observations
            self.add_observation(observation)
        await self.send()
        await publish(self.archive)

    def pass_days(self, days: int) -> None:
        self.now += days * 24 * HOUR
        self.fold.advance(self.now)

    @property
    def counted(self) -> tuple[int, int, int]:
        """Predictions, judged, correct on the request basis."""
        found = [counts for (_, basis, _), counts in sums_of(self._deltas).items() if basis == 0]
        return (
            sum(counts.predictions for counts in found),
            sum(counts.judged for counts in found),
            sum(counts.correct for counts in found),
        )

    @property
    def requests_in_memory(self) -> int:
        return len(list(self.fold.refs()))


@pytest.fixture
async def partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Partition]:
    monkeypatch.setattr(retry_loop, "_PAUSE", 0.01)
    monkeypatch.setattr(late_feedback, "_TRIES", (0.0,) * 4)
    # Until the archive has its notes: without pauses the writer would give up before.
    monkeypatch.setattr(outcome_writer, "_TRIES", (0.01,) * 5000)
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    yield _Partition(archive)
    await archive.close()


@asynccontextmanager
async def running_tasks(partition: _Partition, outcomes: bool) -> AsyncIterator[None]:
    """Run the tasks that the embedded mode runs beside the stream."""
    read = asyncio.Event()
    read.set()
    folds = {0: partition.fold}
    late = LateFeedbackLookup(
        partition.archive,
        ModelRules(),
        cast(ControlLog, _Control(0 if outcomes else None)),
        cast(ObservationProducer, partition),
        lambda: folds,
        partition.telemetry,
        lambda _: None,
    )
    tasks = [asyncio.create_task(late.run(read))]
    if outcomes:
        writer = OutcomeWriter(partition.archive, lambda: folds, partition.telemetry)
        tasks.append(asyncio.create_task(writer.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_thirty_days_late_and_twice_counts_once_with_outcomes(partition: _Partition) -> None:
    async with running_tasks(partition, outcomes=True):
        await partition.put(answer("r", "a", "b"), answer("s", "a"), truth("s", "a"))
        telemetry = partition.telemetry
        await until(lambda: telemetry.outcomes_written == 1, 60, "the outcome that was in time")
        partition.pass_days(30)
        assert partition.requests_in_memory == 0
        await partition.put(truth("r", "a", "x"))
        await until(lambda: telemetry.outcomes_written == 3, 60, "the late outcomes")
        assert partition.counted == (3, 3, 2)
        await partition.put(truth("r", "a", "x"))
        assert partition.counted == (3, 3, 2)
        # Again after the request has left memory again, and for a request that was counted in time.
        partition.pass_days(30)
        await partition.put(truth("r", "x", "x"), truth("s", "x"))
        await until(lambda: telemetry.late == 2, 60, "late")
        assert partition.counted == (3, 3, 2)
        assert (telemetry.recalled, partition.requests_in_memory) == (1, 0)


async def test_thirty_days_late_is_late_without_outcomes(partition: _Partition) -> None:
    async with running_tasks(partition, outcomes=False):
        await partition.put(answer("r", "a"))
        partition.pass_days(30)
        await partition.put(truth("r", "a"))
        await until(lambda: partition.telemetry.late == 1, 60, "late")
        assert partition.counted == (1, 0, 0)
        assert partition.requests_in_memory == 0


async def test_every_predictor_is_restored_by_its_newest_answer(partition: _Partition) -> None:
    corrected = answer("r", "b")._replace(time="2026-11-20T10:30:00Z")
    async with running_tasks(partition, outcomes=True):
        await partition.put(corrected, answer("r", "a"), answer("r", "b", predictor="canary"))
        assert partition.counted == (2, 0, 0)
        partition.pass_days(30)
        await partition.put(truth("r", "b"))
        await until(lambda: partition.telemetry.outcomes_written == 2, 60, "both outcomes")
    assert partition.counted == (2, 2, 2)


async def test_a_prediction_that_is_not_on_the_log_yet_is_not_restored(
    partition: _Partition,
) -> None:
    """A prediction that is in the archive, and not on the log yet, was not counted."""
    async with running_tasks(partition, outcomes=True):
        await partition.put(truth("r", "a"))
        await partition.archive.append([event_of(answer("r", "a"))])
        telemetry = partition.telemetry
        await until(lambda: telemetry.lookups == 4, 60, "all look-ups")
        assert (partition.requests_in_memory, telemetry.late, telemetry.recalled) == (1, 0, 0)
        await partition.put(answer("r", "a"))
    assert partition.counted == (1, 1, 1)
