"""When the watchdog calls a part stuck, and when it does not."""

import asyncio
from collections.abc import Sequence

import pytest

from processor.errors import StalledError
from processor.kafka.lag import ProgressSample
from processor.service import watchdog
from processor.service.watchdog import END, EVERY, LIMIT, Watchdog

CHECKS = round(LIMIT / EVERY)
ENDING = round((END - LIMIT) / EVERY)


class Measured:
    """A watchdog of the samples in ``parts``; ``error`` is raised as by a broker that is away."""

    def __init__(self) -> None:
        self.parts: Sequence[ProgressSample] = ()
        self.error: Exception | None = None
        self.failures: list[BaseException] = []
        self.dog = Watchdog(self._measure, self.failures.append)

    async def checks(self, number: int) -> None:
        for _ in range(number):
            await self.dog.check()

    async def _measure(self) -> Sequence[ProgressSample]:
        if self.error:
            raise self.error
        return self.parts


async def test_work_without_progress_is_reported_and_then_ends_the_process() -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 0, 7), ProgressSample("two", 5, 9)]
    await measured.checks(CHECKS)
    assert not measured.dog.last_error
    assert measured.dog.stalled == LIMIT - EVERY
    await measured.checks(1)
    assert "two has 5 records" in measured.dog.last_error
    assert not measured.failures
    await measured.checks(ENDING)
    (failure,) = measured.failures
    assert isinstance(failure, StalledError)
    assert "start again" in str(failure)


async def test_a_part_without_work_is_not_stuck() -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 0, 7)]
    await measured.checks(2 * CHECKS)
    assert measured.dog.stalled == 0
    # Work that arrives now has waited for one check, not for all of them.
    measured.parts = [ProgressSample("one", 3, 7)]
    await measured.checks(1)
    assert measured.dog.stalled == EVERY


async def test_progress_of_one_part_does_not_excuse_another() -> None:
    measured = Measured()
    for number in range(CHECKS + ENDING + 1):
        measured.parts = [ProgressSample("one", 1, number), ProgressSample("two", 1, "still")]
        await measured.checks(1)
    assert measured.failures


async def test_progress_resets_the_time() -> None:
    measured = Measured()
    for step in range(3):
        measured.parts = [ProgressSample("one", 100, step)]
        await measured.checks(CHECKS)
        assert not measured.dog.last_error


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError()])
async def test_no_part_is_stuck_while_the_broker_is_away(error: Exception) -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 5, 7)]
    await measured.checks(CHECKS - 1)
    measured.error = error
    await measured.checks(3 * CHECKS)
    assert measured.dog.stalled == 0
    measured.error = None
    # Each part has the whole limit again to make progress.
    await measured.checks(CHECKS)
    assert not measured.dog.last_error


async def test_a_check_that_takes_for_ever_counts_as_a_broker_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.01)

    async def hang() -> Sequence[ProgressSample]:
        await asyncio.Event().wait()
        return ()

    dog = Watchdog(hang, lambda error: None)
    await dog.check()
    assert dog.stalled == 0
