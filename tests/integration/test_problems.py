"""Each problem around a worker is seen in /ready, /health, /metrics, on the page and in the log within
seconds, and so is its end. With --full all of them, on servers of their own, and a table."""

import asyncio
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web
from elasticsearch import AsyncElasticsearch

from tests.support.faults.cluster import Worker, until
from tests.support.servers import Broker, KafkaServer
from tests.support.servers.elasticsearch import ElasticsearchServer
from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics
from tests.support.workers import Get, Start, models, produce

#: The seconds within which a problem is seen, on a quiet machine and on one with other tests.
_SEEN_WITHIN, _BUSY = 5.0, 30.0
_PLACES = ("/ready", "/health", "/metrics", "/api/page", "log")


class Observer:
    """Looks at all places of a worker; ``rows`` is the table of what it saw."""

    def __init__(self, worker: Worker, get: Get, limit: float) -> None:
        self.worker = worker
        self.rows: list[str] = []
        self._get = get
        self._limit = limit

    async def sees(
        self, name: str, cause: str, metric: str, begin: Callable[[], Awaitable[None]]
    ) -> None:
        """Note the seconds until each place shows the problem, after it began."""
        told, started = self._told(), time.monotonic()
        await begin()
        seconds = await self._wait(lambda: self._shown(cause, metric, told), started)
        self.rows.append(f"| {name} | {' | '.join(f'{one:.1f}' for one in seconds)} |")

    async def is_solved(
        self, name: str, cause: str, metric: str, end: Callable[[], Awaitable[None]]
    ) -> None:
        """Note the seconds until no place shows the problem any more."""
        solved, started = self.worker.text.count("solved after"), time.monotonic()
        await end()

        async def gone() -> list[bool]:
            shown = await self._problems()
            metrics = await self._body("/metrics")
            gone = [cause not in problems for problems in shown]
            logged = self.worker.text.count("solved after") > solved
            return [*gone[:2], f"\n{metric}\n" in metrics, gone[2], logged]

        seconds = await self._wait(gone, started)
        self.rows.append(f"| its end | {' | '.join(f'{one:.1f}' for one in seconds)} |")

    async def status(self) -> int:
        return (await self._get(self.worker, "/ready"))[0]

    def _told(self) -> int:
        return self.worker.text.count("WARNING processor.service.problems")

    async def _body(self, path: str) -> str:
        return "\n" + (await self._get(self.worker, path))[1]

    async def _problems(self) -> list[list[str]]:
        """The causes that /ready, /health and the page show."""
        found = []
        for path in ("/ready", "/health", "/api/page"):
            text = await self._body(path)
            content = json.loads(text) if text.strip() else {}
            content = content["work"]["ready"] if "work" in content else content
            assert all(one["remedy"] and one["since"] for one in content.get("problems", ()))
            found.append([one["cause"] for one in content.get("problems", ())])
        return found

    async def _shown(self, cause: str, metric: str, told: int) -> list[bool]:
        ready, health, page = await self._problems()
        metrics = await self._body("/metrics")
        logged = self._told() > told
        return [cause in ready, cause in health, f"\n{metric}\n" in metrics, cause in page, logged]

    async def _wait(self, look: Callable[[], Awaitable[list[bool]]], started: float) -> list[float]:
        seconds: dict[int, float] = {}

        async def all_places() -> bool:
            for place, seen in enumerate(await look()):
                if seen:
                    seconds.setdefault(place, time.monotonic() - started)
            return len(seconds) == len(_PLACES)

        try:
            await until(all_places, self._limit, "all places")
        except TimeoutError:
            raise AssertionError(f"{[_PLACES[one] for one in seconds]} of {_PLACES}") from None
        return [seconds[place] for place in range(len(_PLACES))]


class FakeElasticsearch:
    """Answers the watch as a real server does; ``status`` is that of its next answers."""

    def __init__(self) -> None:
        self.status = 200
        self.port = free_port()

    async def answer(self, request: web.Request) -> web.Response:
        product = {"X-Elastic-Product": "Elasticsearch"}
        return web.json_response(
            {"inference-log-a": {"settings": {}}}, status=self.status, headers=product
        )

    async def refuse(self) -> None:
        self.status = 401

    async def allow(self) -> None:
        self.status = 200


@pytest.fixture
async def fake() -> AsyncIterator[FakeElasticsearch]:
    fake = FakeElasticsearch()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", fake.port).start()
    yield fake
    await runner.cleanup()


async def _nothing() -> None:
    pass


async def test_missing_topics_a_refusing_archive_a_broken_file_and_a_lost_folder(
    kafka: Broker, app_id: str, start: Start, get: Get, tmp_path: Path, fake: FakeElasticsearch
) -> None:
    name, models_file = uuid.uuid4().hex[:8], tmp_path / "models.yaml"
    models_file.write_text("models: []\n")
    worker = start(
        broker=f"kafka://{kafka.bootstrap}",
        topics=f"missing-{name},^pattern-{name}-",
        app_id=app_id,
        archive=f"http://127.0.0.1:{fake.port}",
        bootstrap="never",
        models=str(models_file),
    )
    observer = Observer(worker, get, _BUSY)
    topics = ("source_topics", "processor_source_topics_missing 2.0")
    await observer.sees("topics missing at the start", *topics, _nothing)

    async def create() -> None:
        await create_topics(kafka.bootstrap, [f"missing-{name}", f"pattern-{name}-1"], 8)

    solved = ("source_topics", "processor_source_topics_missing 0.0")
    await observer.is_solved("topics created", *solved, create)
    await produce(kafka.bootstrap, f"pattern-{name}-1")

    async def counted() -> bool:
        return any(model["judged"] == 63 for model in await models(get, worker))

    await until(counted, 120, "the events of the topic that appeared")

    async def complete() -> bool:
        return (await get(worker, "/ready?wait=complete"))[0] == 200

    await until(complete, 60, "complete")
    archive = ("archive", 'processor_archive_refused{reason="credentials"} 1.0')
    await observer.sees("credentials refused", *archive, fake.refuse)
    await observer.is_solved("credentials right", "archive", "processor_archive_up 1.0", fake.allow)

    async def break_file() -> None:
        models_file.write_text("models: 1\n")

    async def mend_file() -> None:
        models_file.write_text("models: []\n")

    file = ("models_file", "processor_models_file_refused 1.0")
    await observer.sees("models file broken", *file, break_file)
    file = ("models_file", "processor_models_file_refused 0.0")
    await observer.is_solved("models file mended", *file, mend_file)
    folder = Path(tmp_path / "data")

    async def lose() -> None:
        folder.rename(tmp_path / "gone")

    async def find() -> None:
        (tmp_path / "gone").rename(folder)

    await observer.sees("data folder gone", "disk", "processor_disk_full 1.0", lose)
    assert await observer.status() == 200
    await observer.is_solved("data folder back", "disk", "processor_disk_full 0.0", find)
    assert worker.text.count("WARNING") == 4, worker.text
    print("\n".join(observer.rows))


@pytest.mark.full("servers of its own")
@pytest.mark.timeout(900)
async def test_all_problems_with_their_times(
    app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    """Kafka and Elasticsearch stopped, and a full disk; and a worker that becomes unready."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaServer())
        elastic = stack.enter_context(ElasticsearchServer())
        disk = _small_disk(tmp_path, stack)
        worker = start(
            broker=f"kafka://{kafka.bootstrap}",
            topics="a",
            app_id=app_id,
            archive=elastic.url,
            data=str(disk / "data"),
        )
        observer = Observer(worker, get, _SEEN_WITHIN)

        topics = ("source_topics", "processor_source_topics_missing 1.0")
        await observer.sees("a topic is missing at the start", *topics, _nothing)

        async def unready() -> bool:
            return await observer.status() == 503 and "ready: " in worker.text

        def stop(server: KafkaServer | ElasticsearchServer) -> Callable[[], Awaitable[None]]:
            return lambda: asyncio.to_thread(server.stop)

        began = time.monotonic()
        await until(unready, 60, "unready")
        observer.rows.append(f"503 after {time.monotonic() - began:.1f} s more")
        solved = ("source_topics", "processor_source_topics_missing 0.0")
        await observer.is_solved(
            "its end", *solved, lambda: create_topics(kafka.bootstrap, ["a"], 8)
        )
        _, metrics = await get(worker, "/metrics")
        assert 'processor_archive_refused{reason="no_index"} 1.0' in metrics
        async with AsyncElasticsearch(elastic.url) as client:
            up = ("archive", "processor_archive_up 1.0")
            await observer.is_solved("index made", *up, lambda: _make_index(client))
        away = ("archive", "processor_archive_up 0.0")
        await observer.sees("Elasticsearch stops", *away, stop(elastic))
        filler = disk / "filler"

        async def fill() -> None:
            _fill(filler)

        async def free() -> None:
            filler.unlink()

        await observer.sees("the disk is full", "disk", "processor_disk_full 1.0", fill)
        await observer.is_solved("its end", "disk", "processor_disk_full 0.0", free)
        await observer.sees("Kafka stops", "broker", "processor_broker_up 0.0", stop(kafka))
        began = time.monotonic()
        await until(unready, 60, "unready")
        assert (await get(worker, "/health"))[0] == 200
        observer.rows.append(f"503 after {time.monotonic() - began:.1f} s more")
        assert worker.alive, worker.text
        print("\n".join(observer.rows))


async def _make_index(client: AsyncElasticsearch) -> None:
    await client.indices.create(index="inference-log-a")


def _small_disk(folder: Path, stack: ExitStack) -> Path:
    path = folder / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("a small file system can't be mounted here")
    command = [mount, "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can't be mounted here")
    stack.callback(lambda: subprocess.run(["umount", "-l", str(path)], check=True))
    return path


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
