"""The broker that other tests stand on: it keeps what it took, and dies when told."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.support.servers import Broker, GivenBroker, KafkaServer, ServerError, kafka_server
from tests.support.servers.maven import cache_folder, find_program
from tests.support.servers.process import ServerProcess, wait_until
from tests.support.servers.topics import create_topics


async def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, headers=[("ce_type", b"t")])


async def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    values: list[bytes] = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        while len(values) < count:
            batches = await consumer.getmany(timeout_ms=10_000)
            assert batches, f"only {len(values)} of {count} records came within 10 s"
            values += [record.value for records in batches.values() for record in records]
    return values


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


async def test_round_trip(kafka: Broker, topic: Callable[..., str]) -> None:
    name = topic(partitions=1)
    sent = [f"value {number}".encode() for number in range(100)]

    await _produce(kafka.bootstrap, name, sent)

    assert await _consume(kafka.bootstrap, name, len(sent)) == sent


async def test_topics_are_fresh(topic: Callable[..., str]) -> None:
    assert topic() != topic()


def test_app_ids_are_names(app_id: str) -> None:
    assert app_id.startswith("test-")


@pytest.mark.integration
@pytest.mark.parametrize("end", [KafkaServer.stop, KafkaServer.kill])
async def test_restart_keeps_address_and_data(
    own_kafka: KafkaServer, end: Callable[[KafkaServer], None]
) -> None:
    bootstrap, pid = own_kafka.bootstrap, own_kafka.pid
    await create_topics(bootstrap, ["kept"], 1)
    await _produce(bootstrap, "kept", [b"before"])

    end(own_kafka)
    own_kafka.restart()
    await _produce(own_kafka.bootstrap, "kept", [b"after"])

    assert own_kafka.bootstrap == bootstrap
    assert own_kafka.pid != pid
    assert await _consume(bootstrap, "kept", 2) == [b"before", b"after"]


@pytest.mark.integration
def test_failed_start_shows_the_log() -> None:
    server = KafkaServer({"log.retention.hours": "soon"})

    with pytest.raises(ServerError, match=r"log\.retention\.hours"):
        server.start()
    folder = server.folder
    server.close()

    assert not folder.exists()


def test_given_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_TEST_KAFKA", "kafka://example:9092")

    with kafka_server() as broker:
        assert broker.bootstrap == "example:9092"


def test_java_stands_in_when_docker_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no such image")

    monkeypatch.delenv("PROCESSOR_TEST_KAFKA", raising=False)
    monkeypatch.setattr("tests.support.servers._docker_answers", lambda: True)
    monkeypatch.setattr("tests.support.servers._docker_kafka", fail)
    stand_in = nullcontext(GivenBroker("stand-in:1"))
    monkeypatch.setattr("tests.support.servers.KafkaServer", lambda: stand_in)

    with pytest.warns(UserWarning, match="no such image"), kafka_server() as broker:
        assert broker.bootstrap == "stand-in:1"


def test_missing_program_says_what_to_install() -> None:
    with pytest.raises(ServerError, match="apt-get install some-package"):
        find_program("no-such-program", "some-package")


def test_cache_folder_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROCESSOR_TEST_CACHE", str(tmp_path))

    assert cache_folder() == tmp_path


@pytest.mark.integration
def test_a_stubborn_process_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ["sh", "-c", "trap '' TERM; echo up; while :; do read _ < /dev/null || :; done"]
    process = ServerProcess(command, tmp_path, log)
    process.wait_ready(lambda: "up" in log.read_text(), 60)

    process.stop(seconds=0.2)

    assert not Path(f"/proc/{process.pid}").exists()


def test_a_server_does_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    script = (
        "import pathlib, os, signal\n"
        "from tests.support.servers.process import ServerProcess\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "server = ServerProcess(['sleep', '300'], folder, folder / 'log')\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60
    )
    pid = int(done.stdout)

    wait_until(lambda: not _alive(pid), 60, "the end of the orphan")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
