"""``processor dead-letters`` as a user runs it: on Kafka, and on the archive of the embedded mode."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.dead_letters import dead_letter_headers
from processor.domain.events.raw_event import DeadLetter, RawEvent
from tests.support.faults.cluster import until
from tests.support.reports.command import run_in_bytes
from tests.support.servers import Broker
from tests.support.servers.process import free_port
from tests.support.workers import Get, Start, models

_TIME = 1_795_165_439_000_000_000
_HOSTILE = b"\x1b]0;owned\x07\xff\r\n<script>alert(1)</script>"


def _headers(kind: str, request_id: str, **more: bytes) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_type", f"io.seldon.serving.{kind}".encode()),
        ("ce_id", f"{kind}-{request_id}".encode()),
        ("ce_requestid", request_id.encode()),
        ("ce_inferenceservicename", b"m"),
        ("ce_namespace", b"n"),
        *more.items(),
    )


_PREDICTION = RawEvent(_headers("inference.response", "r1"), b'{"data":{"ndarray":["a"]}}', _TIME)
_FEEDBACK = RawEvent(_headers("feedback", "r1"), b'{"reward": 1}', _TIME + 1)
_BROKEN = RawEvent(_headers("feedback", "r2"), _HOSTILE, _TIME)


async def _run(*args: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    ran = await asyncio.to_thread(run_in_bytes, ("dead-letters", *args), env)
    assert b"Traceback" not in ran.stderr
    return ran


async def _json(*args: str, **settings: str) -> Any:
    ran = await _run(*args, "--format", "json", **settings)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def _keep(bootstrap: str, topic: str, events: list[RawEvent]) -> None:
    """As a release that understood none of them would have kept them."""
    letter = DeadLetter("bad_shape", "not yet")
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for event in events:
            headers = dead_letter_headers(event, letter, ("http", 0, 0))
            await producer.send_and_wait(topic, event.value, headers=headers, partition=2)


@pytest.mark.long
async def test_letters_on_kafka(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get
) -> None:
    source, port = topic(partitions=1), free_port()
    settings = {"broker": f"kafka://{kafka.bootstrap}", "app_id": app_id}
    ran = await _run("list", **settings)
    assert ran.returncode == 1
    assert f"no topic {app_id}-dead-letters".encode() in ran.stderr

    worker = start(**settings, topics=source, archive="none", ingress_port=str(port))
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(
            source, _BROKEN.value, key=b"k\x00", headers=list(_BROKEN.headers),
            timestamp_ms=_TIME // 1_000_000,
        )  # fmt: skip

    async def kept() -> bool:
        _, metrics = await get(worker, "/metrics")
        return 'processor_dead_letters_total{reason="bad_json"} 1.0' in metrics

    await until(kept, 60, "the dead letter")
    (entry,) = (await _json("list", **settings))["dead_letters"]
    assert (entry["reason"], entry["topic"], entry["offset"]) == ("bad_json", source, 0)
    assert (entry["type"], entry["request_id"]) == ("io.seldon.serving.feedback", "r2")
    shown = await _run("show", entry["id"], **settings)
    assert shown.returncode == 0, shown.stderr
    text = shown.stdout.decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert "\\x1b]0;owned\\x07\\xff\\r\n" in text
    assert "ce_requestid: r2" in text
    assert "time     2026-11-20T09:03:59Z" in text
    assert (await _run("show", entry["id"], "--raw", **settings)).stdout == _HOSTILE
    missing = await _run("show", "7/99999", **settings)
    assert (missing.returncode, missing.stdout) == (1, b"")

    # Two letters of each event: what is the same event must count once.
    dead_letters = f"{app_id}-dead-letters"
    await _keep(kafka.bootstrap, dead_letters, [_FEEDBACK, _PREDICTION, _PREDICTION, _FEEDBACK])
    listing = await _json("list", "--limit", "2", **settings)
    assert len(listing["dead_letters"]) == 2
    assert listing["by_reason"] == {"bad_shape": 4, "bad_json": 1}
    assert (await _json("list", "--to", "2020-01-01T00:00:00Z", **settings))["total"] == 0

    outcome = {"counted": 4, "nothing": 0, "unreadable": 0, "before": 0}
    still = {"counted": 0, "nothing": 0, "unreadable": 1, "before": 0}
    dry = await _json("retry", "--dry-run", **settings)
    assert dry["by_reason"] == {"bad_json": still, "bad_shape": outcome}
    first, second = [e["id"] for e in listing["dead_letters"]]
    done = await _json("retry", second, **settings)
    assert done["by_reason"] == {"bad_shape": outcome | {"counted": 1}}
    done = await _json("retry", **settings)
    assert done["by_reason"] == {
        "bad_json": still, "bad_shape": outcome | {"counted": 3, "before": 1}
    }  # fmt: skip
    again = await _json("retry", "--reason", "bad_shape", **settings)
    assert again["by_reason"] == {"bad_shape": outcome | {"counted": 0, "before": 4}}
    unknown = await _run("retry", "0/77777", **settings)
    assert unknown.returncode == 1
    assert b"0/77777" in unknown.stderr
    listing = await _json("list", **settings)
    assert [bool(e["retried"]) for e in listing["dead_letters"]] == [False, True, True, True, True]
    assert listing["dead_letters"][-2]["id"] == first

    async def counted() -> bool:
        found = await models(get, worker)
        return [(m["predictions"], m["judged"], m["correct"]) for m in found] == [(1, 1, 1)]

    await until(counted, 60, "one prediction, judged")

    async def repeats() -> bool:
        _, metrics = await get(worker, "/metrics")
        # Of equal versions: they have the time of the original record, not of the retry.
        return "processor_duplicates_total 2.0" in metrics

    await until(repeats, 60, "two duplicates")
    _, metrics = await get(worker, "/metrics")
    assert "processor_superseded_total 0.0" in metrics
    table = (await _run("list", **settings)).stdout.decode()
    assert "5 dead letters: 4 bad_shape, 1 bad_json" in table


async def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    """While it reads a broker that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = f"kafka://127.0.0.1:{silent.getsockname()[1]}"
        env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        command = subprocess.Popen(
            [sys.executable, "-m", "processor", "dead-letters", "list"],
            env={**env, "PROCESSOR_BROKER": broker}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            connection, _ = await asyncio.to_thread(silent.accept)
            with connection:
                command.send_signal(signal.SIGINT)
                out, err = await asyncio.to_thread(command.communicate, timeout=60)
        finally:
            command.kill()
            command.wait()
    assert (command.returncode, out, err.strip()) == (130, b"", b"")


async def test_letters_of_the_embedded_mode(tmp_path: Path) -> None:
    ran = await _run("list", data=str(tmp_path))
    assert ran.returncode == 2
    assert b"PROCESSOR_BROKER" in ran.stderr
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    try:
        await archive.append([_PREDICTION, _BROKEN, _FEEDBACK])
        # Read while the service has it open.
        (entry,) = (await _json("list", data=str(tmp_path)))["dead_letters"]
        assert (entry["id"], entry["reason"]) == ("2", "bad_json")
        assert (await _run("show", "2", "--raw", data=str(tmp_path))).stdout == _HOSTILE
        assert (await _run("show", "1", data=str(tmp_path))).returncode == 1
        await archive.append([_BROKEN._replace(timestamp=_TIME + 1), _BROKEN])
        listed = (await _json("list", data=str(tmp_path)))["dead_letters"]
        assert [entry["id"] for entry in listed] == ["2", "5", "4"]
        retried = await _run("retry", data=str(tmp_path))
        assert retried.returncode == 1
        assert b"PROCESSOR_BOOTSTRAP=full" in retried.stderr
        assert (await _json("list", "--reason", "no_id", data=str(tmp_path)))["total"] == 0
    finally:
        await archive.close()
