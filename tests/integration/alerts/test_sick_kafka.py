"""What befalls workers on a Kafka, and the alert for each of it in a real Prometheus."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from bench.support.rows import request_ids
from processor.domain.events.events_file import parse_line
from processor.domain.timestamps import HOUR
from processor.settings import Settings
from tests.support.alerts.causes import KAFKA, RULES
from tests.support.alerts.prometheus import Prometheus, running_prometheus, shortened
from tests.support.alerts.rig import FACTOR, AlertRig
from tests.support.alerts.sick_models import event
from tests.support.faults.cluster import Worker, until
from tests.support.faults.past_log import PastLog
from tests.support.servers import KafkaServer
from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics
from tests.support.workers import Get, Start, kafka_settings, metric

_PARTITIONS = 2
_ANSWER = {"data": {"ndarray": ["a"]}}
_TRUTH = {"truth": {"data": {"ndarray": ["a"]}}}
#: Two earlier hours of so many requests, and feedback for unknown ones, are below this limit of memory,
#: and above it with the requests that come then.
_EACH, _UNMATCHED, _CAP, _MORE = 4_000, 200, "450KiB", 3_000


class Workers:
    """One worker for each cause, each an app of its own on a source of its own."""

    def __init__(self, kafka: KafkaServer, start: Start, app_id: str) -> None:
        self.jobs: dict[str, list[Worker]] = {}
        self._kafka = kafka
        self._start = start
        self._app_id = app_id

    def start(self, name: str, fault: str = "", **settings: str) -> Worker:
        worker = self._start(fault=fault, data=name, **self._settings(name, **settings))
        self.jobs[name] = [worker]
        return worker

    async def write_past(self, name: str) -> None:
        """Give the app of that name a log of two earlier hours."""
        data = random.Random(7).randbytes(16 * _EACH * 2)
        ids, now = request_ids(data), time.time_ns()
        env = {f"PROCESSOR_{key.upper()}": value for key, value in self._settings(name).items()}
        hours = [(now - 5 * HOUR, ids[:_EACH]), (now - 4 * HOUR, ids[_EACH:])]
        await PastLog(Settings.from_env(env)).write(hours, unmatched=_UNMATCHED)

    def _settings(self, name: str, **settings: str) -> dict[str, str]:
        app_id = f"{self._app_id}-{name}"
        return kafka_settings(self._kafka, name, app_id, partitions=str(_PARTITIONS), **settings)

    async def send(self, name: str, numbers: range) -> None:
        """Predictions to the source of that name, and their feedback; each a batch of its own."""
        kinds = (("inference.response", _ANSWER), ("feedback", _TRUTH))
        async with _producer(self._kafka.bootstrap) as producer:
            for number in numbers:
                for kind, data in kinds:
                    line = event(kind, name, f"{name}-{number}", time.time_ns(), data)
                    one = parse_line(line.encode(), number, 0)
                    await producer.send_and_wait(
                        name, one.value, headers=list(one.headers), partition=number % _PARTITIONS
                    )

    async def crowd(self, name: str, count: int) -> None:
        """So many predictions at once to the source of that name."""
        async with _producer(self._kafka.bootstrap) as producer:
            for number in range(count):
                line = event("inference.response", name, f"more-{number}", time.time_ns(), _ANSWER)
                one = parse_line(line.encode(), number, 0)
                await producer.send(name, one.value, headers=list(one.headers), partition=0)

    async def lose(self, name: str) -> None:
        """Remove every record of the source, as retention does."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka.bootstrap)
        await admin.start()
        try:
            partitions = [TopicPartition(name, number) for number in range(_PARTITIONS)]
            await admin.delete_records({one: RecordsToDelete(-1) for one in partitions})
        finally:
            await admin.close()


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


_SOURCES = ("archive", "hung", "lost-delta", "failing", "slow", "away", "crowded")


@pytest.mark.full("some minutes, and a broker that is stopped")
@pytest.mark.timeout(1200)
async def test_every_alert_on_workers_with_a_kafka_fires(
    app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    with KafkaServer() as kafka:
        await create_topics(kafka.bootstrap, list(_SOURCES), _PARTITIONS)
        workers = Workers(kafka, start, app_id)
        folder = tmp_path / "prometheus"
        with running_prometheus(folder, shortened(RULES, FACTOR)) as prometheus:
            rig = AlertRig(prometheus, KAFKA)
            try:
                sending = await _befalls(rig, workers, prometheus, get)
                try:
                    await rig.all_fired()
                finally:
                    sending.cancel()
                    with suppress(asyncio.CancelledError):
                        await sending
                rig.begins("ProcessorBrokerAway")
                await asyncio.to_thread(kafka.stop)
                await rig.all_fired()
            finally:
                rig.show()
            rig.check_whole()


async def _befalls(
    rig: AlertRig, workers: Workers, prometheus: Prometheus, get: Get
) -> asyncio.Task[None]:
    """Start a worker for each cause, and the causes; the task goes on sending."""
    nobody = f"http://127.0.0.1:{free_port()}"
    faults = {"hung": "silent_fold:3", "lost-delta": "lost_delta:1", "failing": "failing_fold:3"}
    for name, fault in faults.items():
        workers.start(name, fault)
    workers.start("slow", "slow_source:1")
    away = workers.start("away")
    await workers.write_past("crowded")
    crowded = workers.start("crowded", max_memory=_CAP)
    await workers.send("crowded", range(20))
    prometheus.scrape_jobs(workers.jobs)
    for worker in (one for each in workers.jobs.values() for one in each):
        await _ready(get, worker)
    await metric(get, crowded, "processor_unmatched_feedbacks", 2.0 * _UNMATCHED)
    await metric(get, crowded, 'processor_events_total{event_type="feedback"}', 20.0)
    await prometheus.until_scraped(len(workers.jobs))

    rig.begins("ProcessorRequestsEvicted", job="crowded")
    await workers.crowd("crowded", _MORE)
    rig.begins("ProcessorTopicMissing", job="missing")
    rig.begins("ProcessorArchiveAway", "ProcessorBootstrapIncomplete", job="archive")
    workers.start("missing")
    workers.start("archive", archive=nobody, bootstrap="auto")
    prometheus.scrape_jobs(workers.jobs)
    rig.begins("ProcessorStalled", "ProcessorCountsBehind", "ProcessorCheckpointOld", job="hung")
    rig.begins("ProcessorHeldDeltas", job="lost-delta")
    rig.begins("ProcessorPartitionFailing", job="failing")
    for name in faults:
        await workers.send(name, range(20))

    await workers.send("away", range(20))
    await metric(get, away, 'processor_events_total{event_type="feedback"}', 20.0)
    assert await away.terminate() == 0
    await workers.send("away", range(20, 50))
    await workers.lose("away")
    rig.begins("ProcessorSourceLost", job="away")
    workers.start("away")
    prometheus.scrape_jobs(workers.jobs)

    rig.begins("ProcessorConsumerLag", job="slow")
    await workers.send("slow", range(500))
    return asyncio.create_task(_keep_sending(workers))


async def _keep_sending(workers: Workers) -> None:
    """More than the slow worker reads, so that its lag grows; and what follows a lost delta."""
    number = 500
    while True:
        await workers.send("slow", range(number, number + 10))
        await workers.send("lost-delta", range(number, number + 1))
        number += 10


async def _ready(get: Get, worker: Worker) -> None:
    async def ready() -> bool:
        return (await get(worker, "/ready"))[0] == 200

    await until(ready, 120, "ready")
