"""Tasks beside the stream continue after faults, and log each fault once."""

import asyncio
import logging

import pytest

import processor.backfill.retry_loop as retry_loop
from processor.backfill.retry_loop import RetryLoop
from processor.errors import ArchiveError, BrokerError
from tests.support.faults.cluster import until


class _Rounds(RetryLoop):
    """Each round ends with the next of ``ends``; after the last one all rounds succeed."""

    def __init__(self, *ends: Exception | str) -> None:
        super().__init__("a task")
        self.ends = list(ends)
        self.seen: list[str] = []

    async def run(self) -> None:
        await self._run_forever(self._round)

    async def _round(self) -> str:
        self.seen.append(self.last_error)
        end = self.ends.pop(0) if self.ends else ""
        if isinstance(end, Exception):
            raise end
        return end


async def test_an_error_is_logged_once_and_the_next_one_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry_loop, "_PAUSE", 0.001)
    caplog.set_level(logging.DEBUG, "processor.backfill.retry_loop")
    away = ArchiveError("it is away")
    work = _Rounds(away, away, "a part of it", BrokerError("the broker"), "", away)
    task = asyncio.create_task(work.run())
    await until(lambda: len(work.seen) >= 8, 60, "all rounds")
    task.cancel()
    await asyncio.wait([task])
    assert work.seen[1:7] == [*["it is away"] * 2, "a part of it", "the broker", "", "it is away"]
    assert work.last_error == ""
    logged = ["it is away", "a part of it", "the broker", "it is away"]
    assert [one.getMessage() for one in caplog.records if "a task" in one.getMessage()] == [
        f"a task: {last_error}; trying again" for last_error in logged
    ]


async def test_a_defect_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_loop, "_PAUSE", 0.001)
    with pytest.raises(KeyError):
        await _Rounds(KeyError("a defect")).run()
