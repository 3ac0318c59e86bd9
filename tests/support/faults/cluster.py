"""Worker processes of one app, and what they show together."""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from bench.support.load import Load
from bench.support.measure import differences
from tests.support.faults.embedded_source import Feed
from tests.support.faults.log import check_deltas
from tests.support.faults.outcomes import Outcome
from tests.support.faults.size import Size
from tests.support.forks.process import SERVICE, Fork
from tests.support.servers import KafkaServer
from tests.support.servers.process import free_port

_ROOT = Path(__file__).resolve().parents[3]
_POLL = 0.1
#: What a clean log never holds.
_NOISE = (
    "was never retrieved",
    "was never awaited",
    "Unclosed ",
    "was destroyed but it is pending",
    "Exception ignored",
    "Unhandled exception",
)


class Worker:
    """One `processor run`, or the same with a fault planted in it: `tests.support.faults.worker`, or
    `tests.support.faults.shared_clock`."""

    def __init__(self, log: Path, env: Mapping[str, str], fault: str) -> None:
        self.log = log
        self.port = free_port()
        self.data = ""
        """The name of its data folder, in a crew."""
        module = "tests.support.faults.worker" if fault else "processor"
        settings = {**env, "PROCESSOR_METRICS_PORT": str(self.port), "FAULT": fault}
        imports: tuple[str, ...] = SERVICE
        if fault.startswith("shared_clock"):
            module = "tests.support.faults.shared_clock"
            imports = ()  # its clock must be there first
        with log.open("wb") as output:
            self._process = Fork(
                ["run"], settings, output, output, imports=imports, module=module, folder=_ROOT,
                whole=True,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    async def wait(self, seconds: float) -> int:
        """The exit code; fails if the process does not end in time."""
        await until(lambda: not self.alive, seconds, f"end of worker {self.log.name}")
        assert self._process.returncode is not None
        return self._process.returncode

    async def ingress(self) -> str:
        """The address where it takes events."""
        found: list[str] = []

        def said() -> bool:
            found[:] = re.findall(r"events in: (http://\S+)", self.text)
            return bool(found)

        await until(said, 60, "the address of the ingress")
        return found[0]

    @property
    def memory(self) -> int:
        """Bytes that it holds now, by Linux's /proc."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    async def terminate(self) -> int:
        """SIGTERM; a worker ends within about 10 s of it, whatever the broker does."""
        self.signal(signal.SIGTERM)
        return await self.wait(12)


def timeless(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The models without their estimates, which depend on the time at which they are made."""
    return [{**model, "nowcast": None, "drift": None} for model in models]


class WorkerCluster:
    """Starts workers, feeds the load, and compares with the truth."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        app_id: str,
        load: Load,
        folder: Path,
        size: Size,
        outcome: Outcome,
    ) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self.app_id = app_id
        self.folder = folder
        self.workers: list[Worker] = []
        self.size = size
        self.server: KafkaServer | None = None
        """The broker, where the test may stop it."""
        self.settings: dict[str, str] = {}
        """What workers are started with, beside what every crew has."""
        self.outcome = outcome
        self._exact_after: list[float] = []
        self._restarting = False
        self._load = load
        self._expected = load.expected()
        self._feeds: list[Feed] = []
        self._ever: list[Worker] = []
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: TracebackType | None) -> None:
        self.outcome.events = self.outcome.events or sum(feed.sent for feed in self._feeds)
        self.outcome.seconds = self.outcome.seconds or self._exact_after
        for feed in self._feeds:
            await feed.cancel()
        for worker in self._ever:
            if worker.alive:
                worker.kill()
        await self._session.close()
        # Shown where the test fails.
        for worker in self._ever:
            print(f"--- {worker.log.name}\n{worker.text[-6000:]}")

    def data(self, name: str) -> Path:
        """The data folder of that name."""
        return self.folder / name

    def env(self, data: str) -> dict[str, str]:
        """The environment of a command of this app. Settings of the caller's shell must not change what
        is tested."""
        env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        return env | {
            "PROCESSOR_BROKER": f"kafka://{self.bootstrap}",
            "PROCESSOR_TOPICS": self.topic,
            "PROCESSOR_APP_ID": self.app_id,
            "PROCESSOR_DATA": str(self.data(data)),
            "PROCESSOR_ARCHIVE": "none",
            "PROCESSOR_SESSION_TIMEOUT": f"{self.size.session}s",
            **self.settings,
        }

    def start(self, data: str = "data", fault: str = "", ingress_port: int = 0) -> Worker:
        """Start one more worker."""
        env = {"PROCESSOR_INGRESS_PORT": str(ingress_port), **self.env(data)}
        worker = Worker(self.folder / f"worker-{len(self._ever)}.log", env, fault)
        worker.data = data
        self.workers.append(worker)
        self._ever.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """kill -9, and forget it."""
        worker.kill()
        self.workers.remove(worker)

    async def terminate(self, worker: Worker) -> None:
        """SIGTERM, and forget it: an orderly end is exit code 0."""
        self.workers.remove(worker)
        code = await worker.terminate()
        # It may not have begun, when the signal ends Python itself.
        unborn = code == -signal.SIGTERM and not worker.text
        assert code == 0 or unborn, worker.text[-2000:]

    def feed(self, seconds: float) -> Feed:
        """The whole load comes in over so many seconds, times the size's stretch."""
        rate = self.size.events / (seconds * self.size.stretch)
        feed = Feed(self.bootstrap, self.topic, self._load, rate)
        self._feeds.append(feed)
        return feed

    async def until_ready(self, seconds: float = 60) -> None:
        """All workers hold their partitions, each of them one worker: who has not heard of a rebalance
        yet shows models still that its successor has not opened."""

        async def ready() -> bool:
            states = [await self.get(worker, "/ready") for worker in self.workers]
            if not all(state and state["ready"] for state in states):
                return False
            held = sorted(number for state in states for number in state["partitions"]["deltas"])
            count = int(self.settings.get("PROCESSOR_PARTITIONS", "8"))
            return held == (
                [0] if self.settings.get("PROCESSOR_BROKER") == "" else list(range(count))
            )

        await until(ready, seconds, "ready")

    async def until_exact(self, seconds: float | None = None) -> None:
        """The workers show the truth, each model once, and go on showing it; and the log's deltas
        agree with each other."""
        await self.until_counted(seconds)
        assert await self.held_deltas() == 0
        await check_deltas(self.bootstrap, f"{self.app_id}-deltas")

    async def until_counted(self, seconds: float | None = None) -> None:
        """The workers show the truth, each model once, and go on showing it."""
        assert all(feed.done for feed in self._feeds), "the load is still coming in"
        limit = self.size.seconds if seconds is None else seconds
        started = time.monotonic()
        found: list[str] = []

        async def exact() -> bool:
            nonlocal found
            if not self._restarting:
                self.check_alive()
            found = await self.differences()
            self.outcome.difference = len(found)
            return not found

        # Who comes still would take models from who shows them now.
        await self.until_ready(limit)
        try:
            await until(exact, limit, "exact")
            self._exact_after.append(time.monotonic() - started)
        except TimeoutError:
            raise AssertionError("not exact: " + "; ".join(found[:8])) from None
        # A repeat that counts twice would come after the last delta that was missing.
        end = time.monotonic() + 1
        while time.monotonic() < end:
            found = await self.differences()
            self.outcome.difference = len(found)
            assert not found, "exact no more: " + "; ".join(found[:8])
            await asyncio.sleep(_POLL)

    async def differences(self) -> list[str]:
        """What differs from the truth in the union of all workers."""
        models = await self.models()
        names = Counter(model["deployment"] for model in models)
        twice = [f"{name} published {n} times" for name, n in names.items() if n > 1]
        return twice + differences(self._expected, models)

    async def models(self) -> list[dict[str, Any]]:
        """The models that the workers have, each its own."""
        path = "/api/worker/models?window=all&by=request"
        answers = [await self.get(worker, path) for worker in self.workers]
        return timeless(
            [model for answer in answers if answer for model in answer["body"]["models"]]
        )

    async def predictions(self) -> int:
        """Predictions that all workers show together."""
        return sum(model["predictions"] for model in await self.models())

    async def held_deltas(self) -> float:
        """The sum of processor_held_deltas."""
        return sum([await self.metric(worker, "processor_held_deltas") for worker in self.workers])

    async def total(self, worker: Worker, name: str) -> float:
        """The sum of a metric over its labels; 0 while nobody answers."""
        lines = (await self._text(worker, "/metrics") or "").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    async def metric(self, worker: Worker, name: str) -> float:
        """The value of a metric without labels; 0 while nobody answers."""
        for line in (await self._text(worker, "/metrics") or "").splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0

    async def recovery(self, since: float, seconds: float = 90) -> float:
        """Seconds from ``since`` until all models are shown again, with every prediction that was sent
        until just after it."""

        async def whole() -> bool:
            sent = [feed.predictions_at(since) for feed in self._feeds]
            if None in sent:
                return False
            models = await self.models()
            shown = {model["deployment"] for model in models}
            counted = sum(model["predictions"] for model in models)
            return self._expected.models.keys() <= shown and counted >= sum(filter(None, sent))

        await until(whole, seconds, "all is counted that was sent before")
        return self.recovered(since)

    def recovered(self, since: float) -> float:
        """Note that it is well again; the seconds since the fault."""
        took = time.monotonic() - since
        self.outcome.seconds.append(took)
        self.outcome.in_flight += sum(feed.sent_since(since) for feed in self._feeds)
        print(f"recovered in {took:.1f} s")
        return took

    @asynccontextmanager
    async def restarting(self) -> AsyncIterator[None]:
        """Whoever ends is started again, as an orchestrator does; it must have said why it ended."""

        async def watch() -> None:
            while True:
                for number, worker in enumerate(self.workers):
                    if not worker.alive:
                        assert "processor: " in worker.text.splitlines()[-1], worker.text[-2000:]
                        self.workers.remove(worker)
                        self.start(f"again-{number}")
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        self._restarting = True
        try:
            yield
            if watching.done():
                watching.result()
        finally:
            self._restarting = False
            watching.cancel()
            await asyncio.wait([watching])

    async def until_grown(self, predictions: int, seconds: float = 60) -> None:
        """The numbers have reached so many predictions."""

        async def grown() -> bool:
            return await self.predictions() >= predictions

        await until(grown, seconds, f"{predictions} predictions")

    async def until_settled(self, seconds: float = 60) -> None:
        """The load is in, and the numbers stand still."""
        still, last = 0, -1

        async def stands() -> bool:
            nonlocal still, last
            now = await self.predictions()
            still, last = (still + 1 if now == last else 0), now
            return still >= 20

        await until(stands, seconds, "settled")

    def check_alive(self) -> None:
        """No worker has ended that should run."""
        for worker in self.workers:
            assert worker.alive, f"{worker.log.name} ended:\n{worker.text[-3000:]}"

    def check_logs(self) -> None:
        """Nothing that nobody looked after was left behind."""
        for worker in self._ever:
            for noise in _NOISE:
                assert noise not in worker.text, (
                    f"{worker.log.name}: {noise}\n{worker.text[-6000:]}"
                )

    async def get(self, worker: Worker, path: str) -> Any:
        """The JSON at a path, whatever the status; None while nobody answers."""
        text = await self._text(worker, path)
        return None if text is None else json.loads(text)

    async def _text(self, worker: Worker, path: str) -> str | None:
        try:
            async with self._session.get(f"http://127.0.0.1:{worker.port}{path}") as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


async def until(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float, what: str
) -> None:
    """Return when it holds; TimeoutError with ``what`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:g} s")
        await asyncio.sleep(_POLL)


async def freeze(pid: int) -> None:
    """Stop a process by SIGSTOP, and wait until each of its threads stands still: a busy machine takes
    its time."""
    os.kill(pid, signal.SIGSTOP)

    def stands() -> bool:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/stat"))
        return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    await until(stands, 60, f"process {pid} stopped")
