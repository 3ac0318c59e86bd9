"""Who counts as stuck, and who does not."""

import asyncio
from collections.abc import Sequence

import pytest

from processor.errors import StalledError
from processor.kafka.lag import ProgressSample
from processor.service import watchdog
from processor.service.watchdog import END, EVERY, LIMIT, Watchdog

LOOKS = round(LIMIT / EVERY)
ENDING = round((END - LIMIT) / EVERY)


class Measured:
    """Says what it is told; a broker that is away raises."""

    def __init__(self) -> None:
        self.parts: Sequence[ProgressSample] = ()
        self.error: Exception | None = None
        self.failures: list[BaseException] = []
        self.dog = Watchdog(self._measure, self.failures.append)

    async def looks(self, number: int) -> None:
        for _ in range(number):
            await self.dog.check()

    async def _measure(self) -> Sequence[ProgressSample]:
        if self.error:
            raise self.error
        return self.parts


async def test_work_and_no_step_is_told_and_then_ends_the_process() -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 0, 7), ProgressSample("two", 5, 9)]
    await measured.looks(LOOKS)
    assert not measured.dog.last_error
    assert measured.dog.stalled == LIMIT - EVERY
    await measured.looks(1)
    assert "two has 5 records" in measured.dog.last_error
    assert not measured.failures
    await measured.looks(ENDING)
    (failure,) = measured.failures
    assert isinstance(failure, StalledError)
    assert "start again" in str(failure)


async def test_nothing_to_do_is_no_halt() -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 0, 7)]
    await measured.looks(2 * LOOKS)
    assert measured.dog.stalled == 0
    # What comes now has waited for one look, not for all of them.
    measured.parts = [ProgressSample("one", 3, 7)]
    await measured.looks(1)
    assert measured.dog.stalled == EVERY


async def test_a_step_of_one_part_is_none_of_another() -> None:
    measured = Measured()
    for number in range(LOOKS + ENDING + 1):
        measured.parts = [ProgressSample("one", 1, number), ProgressSample("two", 1, "still")]
        await measured.looks(1)
    assert measured.failures


async def test_every_step_starts_anew() -> None:
    measured = Measured()
    for step in range(3):
        measured.parts = [ProgressSample("one", 100, step)]
        await measured.looks(LOOKS)
        assert not measured.dog.last_error


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError()])
async def test_a_broker_that_is_away_lets_nobody_make_progress(error: Exception) -> None:
    measured = Measured()
    measured.parts = [ProgressSample("one", 5, 7)]
    await measured.looks(LOOKS - 1)
    measured.error = error
    await measured.looks(3 * LOOKS)
    assert measured.dog.stalled == 0
    measured.error = None
    # It has as long as ever to come back to work.
    await measured.looks(LOOKS)
    assert not measured.dog.last_error


async def test_a_look_that_takes_for_ever_is_a_broker_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "PATIENCE", 0.01)

    async def hang() -> Sequence[ProgressSample]:
        await asyncio.Event().wait()
        return ()

    dog = Watchdog(hang, lambda error: None)
    await dog.check()
    assert dog.stalled == 0
