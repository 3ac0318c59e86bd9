"""The embedded mode in the long run: killed at random moments, at a limit of memory, for a month."""

import asyncio
import math
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp

from processor.embedded.state_file import position
from tests.support.faults.cluster import Worker, until
from tests.support.faults.month import DAY, Due, Month
from tests.support.faults.outcomes import Outcome
from tests.support.faults.shared_clock import make_clock, set_clock
from tests.support.faults.size import FULL, Size

_BATCH = 200


class Service:
    """An embedded service that is started again on the same data, and the events it takes."""

    def __init__(self, folder: Path, fault: str, **settings: str) -> None:
        self.kills = 0
        self.memory: list[int] = []
        self._folder = folder
        self._fault = fault
        env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        self._env = env | {"PROCESSOR_INGRESS_PORT": "0", "PROCESSOR_DATA": str(folder / "data")}
        self._env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
        self.worker = self._start()

    def _start(self) -> Worker:
        return Worker(self._folder / f"worker-{self.kills}.log", self._env, self._fault)

    async def send(self, session: aiohttp.ClientSession, events: list[Due]) -> None:
        """Send events until they are accepted, whoever is killed meanwhile."""
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        body = f"[{','.join(event.body for event in events)}]"

        async def accepted() -> bool:
            url = await self.worker.ingress()
            try:
                async with session.post(url, data=body, headers=headers) as answer:
                    return answer.status == 202
            except (aiohttp.ClientError, OSError):
                return False

        await until(accepted, 60, "accepted")
        self.memory.append(self.worker.memory)

    def kill(self) -> None:
        """kill -9, and start again."""
        self.worker.kill()
        self.kills += 1
        self.worker = self._start()


async def _models(session: aiohttp.ClientSession, worker: Worker) -> list[dict[str, object]]:
    url = f"http://127.0.0.1:{worker.port}/api/models?window=all&by=request"
    try:
        async with session.get(url) as answer:
            models: list[dict[str, object]] = (await answer.json())["models"]
            return models
    except (aiohttp.ClientError, OSError):
        return []


async def _until_exact(
    session: aiohttp.ClientSession, service: Service, month: Month, seconds: float
) -> None:
    found: list[dict[str, object]] = []
    cells = [
        {"actual": f"{actual}", "predicted": f"{predicted}", "count": count}
        for (actual, predicted), count in sorted(month.cells.items())
    ]

    async def exact() -> bool:
        found[:] = await _models(session, service.worker)
        return bool(found) and (found[0]["predictions"], found[0]["confusion"]) == (
            month.predictions,
            cells,
        )

    try:
        await until(exact, seconds, "exact")
    except TimeoutError:
        raise AssertionError(f"not exact: {found}, not {month.predictions}, {cells}") from None


async def test_a_month_in_bounded_memory_and_on_a_bounded_disk(
    tmp_path: Path, size: Size, outcome: Outcome
) -> None:
    """30 days of events as fast as they are taken, by a clock that shows their time. Requests leave
    memory at once, the archive keeps 12 days, and the process is killed at random moments."""
    requests, kills, patience = (400_000, 50, 900.0) if size is FULL else (8_000, 2, 60.0)
    start = time.time_ns()
    month = Month(requests, start, seed=1)
    clock = make_clock(tmp_path / "clock", start)
    settings = {"max_memory": "64KiB", "retention": "12d"}
    service = Service(tmp_path, f"shared_clock:{tmp_path / 'clock'}", **settings)
    dice = random.Random(start)
    dies = sorted(dice.sample(range(len(month.events) // _BATCH), kills))
    try:
        async with aiohttp.ClientSession() as session:
            for number in range(0, len(month.events), _BATCH):
                batch = month.events[number : number + _BATCH]
                set_clock(clock, batch[-1].time)
                if dies and number // _BATCH >= dies[0]:
                    dies.pop(0)
                    # The batch is on its way, or is being folded.
                    sending = asyncio.create_task(service.send(session, batch))
                    await asyncio.sleep(dice.random() * 0.3)
                    service.kill()
                    await sending
                else:
                    await service.send(session, batch)
            await _until_exact(session, service, month, patience)
            outcome.events, outcome.difference = len(month.events), 0
            await until(lambda: _days_before_states(tmp_path) < 12.1, 60, "old events are deleted")
            assert service.worker.alive
            service.worker.signal(signal.SIGTERM)
            assert await service.worker.wait(12) == 0
            again = time.monotonic()
            service.worker = service._start()
            await _until_exact(session, service, month, patience)
            outcome.seconds.append(time.monotonic() - again)
    finally:
        service.worker.kill()
        print(service.worker.text[-3000:])
    states = list((tmp_path / "data").glob("*.state"))
    assert 1 <= len(states) <= 2
    half = len(service.memory) // 2
    assert max(service.memory[half:]) < 1.25 * max(service.memory[:half])


def _days_before_states(folder: Path) -> float:
    """How much older the oldest event of the archive is than that of the oldest saved state, in days;
    without limit while no state was saved."""
    covered = min(map(position, (folder / "data").glob("*.state")), default=None)
    if covered is None:
        return math.inf
    with closing(sqlite3.connect(folder / "data" / "events.sqlite")) as connection:
        query = "SELECT MIN(accepted), (SELECT accepted FROM events WHERE seq = ?) FROM events"
        oldest, saved = connection.execute(query, (covered,)).fetchone()
    return float((saved - oldest) / DAY)
