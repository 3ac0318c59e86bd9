"""Pauses between tries."""

import pytest

from processor.backoff import Backoff


async def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("processor.backoff.asyncio.sleep", sleep)
    backoff = Backoff(1.0, 4.0)
    for _ in range(4):
        await backoff.sleep()
    for found, wanted in zip(pauses, (1, 2, 4, 4), strict=True):
        assert 0.8 * wanted <= found <= 1.2 * wanted
    backoff.reset()
    # A server that names a time is not asked before it.
    await backoff.sleep(30)
    assert 30 <= pauses[-1] <= 36
    assert backoff.delay == 2.0
