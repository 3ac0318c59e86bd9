"""How a bootstrap counts documents: a document that was counted before must not count again."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from processor.archive.elasticsearch.archive import ElasticsearchArchive, Page, Shard
from processor.backfill.bootstrap import Bootstrap
from processor.domain.events.decoder import Decoded
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import format_time
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

_DAY = 86_400 * 10**9
_NOW = 1_795_000_000 * 10**9
_HORIZON = 7 * _DAY


def _document(number: int, predicted: int, judged: int | None, name: str = "") -> Document:
    source: dict[str, Any] = {
        "RequestId": f"r{number}",
        "Ce-Namespace": "n",
        "Ce-Inferenceservicename": "d",
        "Ce-Endpoint": "default",
        "Ce-Modelid": "m",
        "response": {"ce-time": format_time(predicted), "payload": {"data": {"ndarray": ["a"]}}},
    }
    if judged is not None:
        source["feedback"] = {"ce-time": format_time(judged), "reward": 1}
    return Document("i", name or f"r{number}", number, json.dumps(source).encode())


class _Archive:
    def __init__(self, *documents: Document) -> None:
        self._documents = list(documents)

    async def shards(self) -> list[Shard]:
        return [Shard("i", "uuid", 0, len(self._documents), len(self._documents))]

    async def multi_predictor(self) -> frozenset[tuple[str, str]] | None:
        return self.several

    several: frozenset[tuple[str, str]] | None = frozenset()

    async def pages(self, shard: Shard, after: int, upto: int) -> AsyncIterator[Page]:
        yield Page(self._documents, upto)


class _Control:
    outcomes_since: int | None = None
    gap_since: int | None = None
    evicted = 0

    def __init__(self, done: bool, created_at: int, cursors: dict[str, int]) -> None:
        self.done, self.created_at, self.cursors = done, created_at, cursors

    async def refresh(self) -> None:
        pass

    async def write(self, record: ControlRecord) -> None:
        self.done = self.done or record.kind == "done"
        if record.kind == "filled":
            self.gap_since = None
        if record.kind == "cursor":
            self.cursors[record.source] = record.position


class _Producer:
    """Notes the mode in which each request was sent."""

    def __init__(self, sent: dict[str, int]) -> None:
        self._sent = sent
        self._added: list[str] = []

    def add_decoded(self, decoded: Decoded, source: Any, key: Any) -> None:
        assert not decoded.dead_letters
        self._added += [one.request_id for one in decoded.observations]

    def add_pair(self, prediction: Prediction, feedback: Feedback | None) -> None:
        self._added.append(prediction.request_id)

    def decode_pairs(self, documents: Any, before: int, since: int) -> Any:
        return documents

    def add_pair_template(self, document: Document, decoded: Decoded) -> None:
        pass

    async def send(self, mode: IngestMode) -> list[asyncio.Future[object]]:
        self._sent.update(dict.fromkeys(self._added, mode))
        self._added.clear()
        return []


async def _run(
    control: _Control,
    *documents: Document,
    oldest: int | None = None,
    several: frozenset[tuple[str, str]] | None = frozenset(),
) -> dict[str, int]:
    sent: dict[str, int] = {}
    archive = _Archive(*documents)
    archive.several = several

    async def oldest_record() -> int | None:
        return oldest

    source_known = asyncio.Event()
    source_known.set()
    bootstrap = Bootstrap(
        cast(ElasticsearchArchive, archive),
        DocumentReader(ModelRules(), Telemetry()),
        cast(ControlLog, control),
        lambda: cast(ObservationProducer, _Producer(sent)),
        Telemetry(),
        _HORIZON,
        lambda: _NOW,
        oldest_record,
        source_known,
    )
    task = asyncio.create_task(bootstrap.run())
    async with asyncio.timeout(60):
        while not (control.done and sent and control.gap_since is None):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return sent


_OLD = _document(1, _NOW - 20 * _DAY, _NOW - 19 * _DAY)
_STRADDLING = _document(2, _NOW - 9 * _DAY, _NOW - 3 * _DAY)
_RECENT = _document(3, _NOW - 3 * _DAY, _NOW - 2 * _DAY)
_WAITING = _document(4, _NOW - 20 * _DAY, None)
_OF_A_BATCH = _document(5, _NOW - 20 * _DAY, None, "r5-item-0")


def _first() -> _Control:
    return _Control(False, _NOW - _DAY, {})


async def test_the_first_start_counts_everything_and_keeps_requests_that_may_change() -> None:
    documents = (_OLD, _STRADDLING, _RECENT, _WAITING, _OF_A_BATCH)
    sent = await _run(_first(), *documents)
    assert sent == {
        "r1": IngestMode.COUNT_AND_DROP,
        "r2": IngestMode.NORMAL,
        "r3": IngestMode.NORMAL,
        "r4": IngestMode.COUNT_AND_DROP,
        "r5": IngestMode.NORMAL,
    }


async def test_requests_that_the_source_may_still_hold_are_kept() -> None:
    """An hour is added, since a record's time is a little later than its event's."""
    sent = await _run(_first(), _OLD, _WAITING, oldest=_NOW - 19 * _DAY - _DAY // 48)
    assert sent == {"r1": IngestMode.NORMAL, "r4": IngestMode.COUNT_AND_DROP}
    sent = await _run(_first(), _OLD, _WAITING, oldest=_NOW - 18 * _DAY)
    assert sent == {"r1": IngestMode.COUNT_AND_DROP, "r4": IngestMode.COUNT_AND_DROP}


async def test_requests_of_several_predictors_are_kept() -> None:
    """Feedback in the document of one predictor judges the predictions of the others too."""
    sent = await _run(_first(), _OLD, several=frozenset({("n", "d")}))
    assert sent == {"r1": IngestMode.NORMAL}
    sent = await _run(_first(), _OLD, several=None)
    assert sent == {"r1": IngestMode.NORMAL}


async def test_a_later_start_counts_requests_in_memory_or_new_ones() -> None:
    """Recent feedback does not make a prediction new that has left memory."""
    sent = await _run(_Control(True, _NOW - 30 * _DAY, {"uuid/0": 0}), _OLD, _STRADDLING, _RECENT)
    assert sent == {
        "r1": IngestMode.IF_PRESENT,
        "r2": IngestMode.IF_PRESENT,
        "r3": IngestMode.NORMAL,
    }


async def test_requests_that_may_be_evicted_are_not_counted_again() -> None:
    control = _Control(True, _NOW - 30 * _DAY, {"uuid/0": 0})
    control.evicted = _NOW
    assert await _run(control, _RECENT) == {"r3": IngestMode.IF_PRESENT}


async def test_an_archive_added_to_an_old_log_does_not_count_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = await _run(_Control(False, _NOW - 30 * _DAY, {}), _OLD, _STRADDLING, _RECENT)
    assert sent == {
        "r1": IngestMode.IF_PRESENT,
        "r2": IngestMode.IF_PRESENT,
        "r3": IngestMode.NORMAL,
    }
    assert "new PROCESSOR_APP_ID" in caplog.text


async def test_events_that_the_source_lost_are_counted_at_a_later_start() -> None:
    """After ten days without a worker and a retention of a week, the first days were not on the log."""
    control = _Control(True, _NOW - 30 * _DAY, {"uuid/0": 0})
    control.gap_since = _NOW - 10 * _DAY
    lost = _document(6, _NOW - 9 * _DAY, _NOW - 8 * _DAY)
    sent = await _run(control, _OLD, _STRADDLING, lost, _RECENT, oldest=_NOW - _DAY)
    assert sent == {
        "r1": IngestMode.IF_PRESENT,
        "r2": IngestMode.NORMAL,
        "r6": IngestMode.COUNT_AND_DROP,
        "r3": IngestMode.NORMAL,
    }
    assert control.gap_since is None
