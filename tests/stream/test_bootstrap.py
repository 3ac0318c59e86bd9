"""Which documents of a later start count: what was counted before must not count again."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from processor.archive.elasticsearch import ElasticsearchArchive, Page, Shard
from processor.domain.documents import Document, DocumentReader
from processor.domain.events import DeadLetter
from processor.domain.models import ModelRules
from processor.domain.observations import Feedback, Prediction
from processor.domain.telemetry import Telemetry
from processor.domain.times import format_time
from processor.stream.bootstrap import Bootstrap
from processor.stream.control import ControlLog, ControlRecord
from processor.stream.packer import Packer

_DAY = 86_400 * 10**9
_NOW = 1_795_000_000 * 10**9
_HORIZON = 7 * _DAY


def _document(number: int, predicted: int, judged: int) -> Document:
    source = {
        "RequestId": f"r{number}",
        "Ce-Namespace": "n",
        "Ce-Inferenceservicename": "d",
        "Ce-Endpoint": "default",
        "Ce-Modelid": "m",
        "response": {"ce-time": format_time(predicted), "payload": {"data": {"ndarray": ["a"]}}},
        "feedback": {"ce-time": format_time(judged), "reward": 1},
    }
    return Document("i", f"r{number}", number, json.dumps(source).encode())


class _Archive:
    def __init__(self, *documents: Document) -> None:
        self._documents = list(documents)

    async def shards(self) -> list[Shard]:
        return [Shard("i", "uuid", 0, len(self._documents), len(self._documents))]

    async def pages(self, shard: Shard, after: int, upto: int) -> AsyncIterator[Page]:
        yield Page(self._documents, upto)


class _Control:
    def __init__(self, done: bool, made: int, cursors: dict[str, int]) -> None:
        self.done, self.made, self.cursors = done, made, cursors

    async def refresh(self) -> None:
        pass

    async def write(self, record: ControlRecord) -> None:
        self.done = self.done or record.kind == "done"


class _Packer:
    """Notes what was sent, and whether only for known requests."""

    def __init__(self, sent: dict[str, bool]) -> None:
        self._sent = sent
        self._added: list[str] = []

    def add_observation(self, observation: Prediction | Feedback) -> None:
        self._added.append(observation.request_id)

    def add_letter(self, event: Any, letter: DeadLetter, origin: Any, key: Any) -> None:
        raise AssertionError(letter)

    async def send(self, known_only: bool = False) -> list[asyncio.Future[object]]:
        self._sent.update(dict.fromkeys(self._added, known_only))
        self._added.clear()
        return []


async def _run(control: _Control, *documents: Document) -> dict[str, bool]:
    sent: dict[str, bool] = {}
    bootstrap = Bootstrap(
        cast(ElasticsearchArchive, _Archive(*documents)),
        DocumentReader(ModelRules(), Telemetry()),
        cast(ControlLog, control),
        lambda: cast(Packer, _Packer(sent)),
        Telemetry(),
        lambda: _NOW - _HORIZON,
        None,
    )
    task = asyncio.create_task(bootstrap.run())
    async with asyncio.timeout(10):
        while not (control.done and sent):
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return sent


_OLD = _document(1, _NOW - 20 * _DAY, _NOW - 19 * _DAY)
_STRADDLING = _document(2, _NOW - 9 * _DAY, _NOW - 3 * _DAY)
_RECENT = _document(3, _NOW - 3 * _DAY, _NOW - 2 * _DAY)


async def test_the_first_start_counts_everything() -> None:
    sent = await _run(_Control(False, _NOW - _DAY, {}), _OLD, _STRADDLING, _RECENT)
    assert sent == {"r1": False, "r2": False, "r3": False}


async def test_a_later_start_counts_what_is_in_memory_or_new() -> None:
    """A feedback of yesterday does not make its prediction new, which has left memory."""
    sent = await _run(_Control(True, _NOW - 30 * _DAY, {"uuid/0": 0}), _OLD, _STRADDLING, _RECENT)
    assert sent == {"r1": True, "r2": True, "r3": False}


async def test_an_archive_added_to_an_old_log_does_not_count_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = await _run(_Control(False, _NOW - 30 * _DAY, {}), _OLD, _STRADDLING, _RECENT)
    assert sent == {"r1": True, "r2": True, "r3": False}
    assert "new PROCESSOR_APP_ID" in caplog.text
