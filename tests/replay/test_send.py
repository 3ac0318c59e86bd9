"""`processor send`: all events arrive, even if the receiver fails meanwhile."""

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from processor.domain.events.events_file import format_line, parse_line
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import BrokerError, EventsFileError, ProcessorError, SettingsError
from processor.ingress.http import make_ingress
from processor.replay.progress import CommandProgress
from processor.replay.send import Sent, local_ingress, send_http, send_kafka
from processor.setting_values import Secret
from processor.settings import Settings
from tests.support.servers import Broker

EVENTS = Path(__file__).parents[1] / "data" / "seed-experiment" / "events.ndjson"
Serve = Callable[..., Awaitable[str]]


def parsed(path: Path = EVENTS) -> list[RawEvent]:
    return [parse_line(line, 1, 0) for line in path.read_bytes().splitlines()]


def known(event: RawEvent) -> tuple[dict[str, bytes], bytes | None]:
    return dict(event.headers), event.value


class KeepingSink:
    def __init__(self) -> None:
        self.events: list[RawEvent] = []

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        self.events += events
        return [None] * len(events)


class Flaky:
    """A server that gives some answers one after another, and then answers 202."""

    def __init__(self, *answers: web.Response) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.answers:
            return self.answers.pop(0)
        self.bodies.append(body)
        return web.Response(status=202)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(app: web.Application, port: int = 0) -> str:
        server = TestServer(app, port=port)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/"))

    yield start
    for server in servers:
        await server.close()


def application(flaky: Flaky) -> web.Application:
    app = web.Application()
    app.router.add_post("/", flaky)
    return app


@pytest.fixture
def one(tmp_path: Path) -> str:
    path = tmp_path / "one.ndjson"
    path.write_bytes(EVENTS.read_bytes().splitlines()[0] + b"\n")
    return str(path)


async def test_the_experiment_arrives_at_the_ingress(serve: Serve) -> None:
    door = KeepingSink()
    settings = Settings(ingress_token=Secret("token"))
    url = await serve(make_ingress(door, settings, lambda: 0))
    sent = await send_http(str(EVENTS), url, token="token")
    assert (sent.read, sent.accepted, sent.refused, sent.retries) == (263, 263, {}, 0)
    arrived = {event.headers[0][1]: known(event) for event in door.events}
    expected = {event.headers[0][1]: known(event) for event in parsed()}
    assert arrived == expected


async def test_one_connection_keeps_the_order(serve: Serve) -> None:
    flaky = Flaky()
    url = await serve(application(flaky))
    await send_http(str(EVENTS), url, connections=1)
    assert flaky.bodies == [event.value for event in parsed()]


async def test_unusual_events_arrive(serve: Serve, tmp_path: Path) -> None:
    events = [
        RawEvent((("ce_id", '1 "50 %" €\n%41'.encode()), ("seldon-puid", b"p")), None, 0),
        RawEvent((("type", b"t"), ("requestid", b"r"), ("host", b"elsewhere")), b"{}", 0),
        RawEvent((("content-type", b"application/cloudevents+json"),), b'{"id":"1"}', 0),
        RawEvent((("content-type", b"application/protobuf"),), b"\x00\xff", 0),
    ]
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + b"\n\n".join(map(format_line, events)))
    door = KeepingSink()
    url = await serve(make_ingress(door, Settings(), lambda: 0))
    sent = await send_http(str(path), url, connections=1)
    assert sent.accepted == 4
    assert known(events[0]) == known(door.events[0])
    assert known(door.events[1]) == ({"type": b"t", "requestid": b"r"}, b"{}")
    assert door.events[2:] == events[2:]


async def test_a_header_that_http_cannot_carry_is_refused(one: str) -> None:
    Path(one).write_bytes(format_line(RawEvent((("seldon-puid", b"a\nb"),), None, 0)))
    sent = await send_http(one, "http://127.0.0.1:1/")
    assert sent.refused == {"bad_header": 1}


async def test_what_is_refused_for_now_is_sent_again(serve: Serve, one: str) -> None:
    flaky = Flaky(
        web.Response(status=429, headers={"Retry-After": "1"}),
        web.Response(status=503),
        web.Response(status=502),
    )
    url = await serve(application(flaky))
    start = time.monotonic()
    sent = await send_http(one, url)
    assert (sent.accepted, sent.retries) == (1, 3)
    assert time.monotonic() - start >= 1
    assert len(flaky.bodies) == 1


async def test_refusals_are_counted_by_reason(serve: Serve, one: str) -> None:
    line = Path(one).read_bytes()
    Path(one).write_bytes(line * 4)
    flaky = Flaky(
        web.json_response({"reason": "no_id"}, status=400),
        web.Response(status=400, text="no JSON"),
        web.json_response({"reason": "too_large"}, status=413),
    )
    url = await serve(application(flaky))
    sent = await send_http(one, url)
    assert sent.accepted == 1
    assert sent.refused == {"no_id": 1, "400": 1, "too_large": 1}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "requires another token"),
        (404, "is it the processor's ingress port"),
        (200, "accepts no events"),
        (302, "accepts no events"),
    ],
)
async def test_an_answer_that_will_not_change_ends_it(
    serve: Serve, status: int, message: str
) -> None:
    flaky = Flaky(*(web.Response(status=status) for _ in range(100)))
    url = await serve(application(flaky))
    with pytest.raises(ProcessorError, match=message):
        await send_http(str(EVENTS), url)


async def test_a_server_that_comes_late_is_waited_for(
    serve: Serve, one: str, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    sending = asyncio.create_task(send_http(one, url))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(sending), 0.2)
    flaky = Flaky()
    await serve(application(flaky), unused_tcp_port)
    sent = await asyncio.wait_for(sending, 60)
    assert sent.accepted == 1
    assert sent.retries > 0


async def test_no_server_at_all_is_named(one: str, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    with pytest.raises(ProcessorError, match=rf"{url} accepted no event for 0.2 s"):
        await send_http(one, url, deadline=0.2)
    with pytest.raises(ProcessorError, match="is not an address"):
        await send_http(one, "localhost", deadline=0.2)


async def test_the_rate_is_kept(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "some.ndjson"
    path.write_bytes(b"\n".join(EVENTS.read_bytes().splitlines()[:50]))
    url = await serve(application(Flaky()))
    sent = await send_http(str(path), url, rate=100)
    assert sent.accepted == 50
    assert sent.seconds >= 0.48


async def test_a_loop_ends_when_it_is_stopped(serve: Serve, one: str) -> None:
    flaky = Flaky()
    url = await serve(application(flaky))
    stop = asyncio.Event()
    sending = asyncio.create_task(send_http(one, url, loop=True, stop=stop))
    async with asyncio.timeout(60):
        while len(flaky.bodies) < 5:
            await asyncio.sleep(0.001)
    stop.set()
    sent = await asyncio.wait_for(sending, 60)
    assert sent.read == sent.accepted == len(flaky.bodies) >= 5
    # A slow rate does not hold up the stop.
    stop.clear()
    sending = asyncio.create_task(send_http(one, url, 0.001, True, stop=stop))
    async with asyncio.timeout(60):
        while len(flaky.bodies) == sent.read:
            await asyncio.sleep(0.001)
    stop.set()
    assert (await asyncio.wait_for(sending, 60)).accepted == 1
    with pytest.raises(EventsFileError, match="standard input"):
        await send_http("-", url, loop=True)


async def test_what_stands_before_a_wrong_line_is_sent(serve: Serve, one: str) -> None:
    line = Path(one).read_bytes()
    Path(one).write_bytes(line * 3 + b"wrong\n" + line)
    flaky = Flaky()
    url = await serve(application(flaky))
    with pytest.raises(EventsFileError, match=rf"{one}: line 4 is no event"):
        await send_http(one, url)
    assert len(flaky.bodies) == 3


async def test_standard_input(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(EVENTS.read_bytes())))
    flaky = Flaky()
    url = await serve(application(flaky))
    assert (await send_http("-", url)).accepted == 263


async def test_kafka_takes_the_experiment(
    tmp_path: Path, kafka: Broker, topic: Callable[[], str]
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(EVENTS.read_bytes() + b'{"headers": {"ce-id": "tombstone"}}')
    name = topic()
    sent = await send_kafka(str(path), [kafka.bootstrap], name)
    assert (sent.read, sent.accepted, sent.refused) == (264, 264, {})
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, partition) for partition in range(8)])
        arrived: list[Any] = []
        async with asyncio.timeout(60):
            while len(arrived) < 264:
                arrived.append(await consumer.getone())
    finally:
        await consumer.stop()
    assert {(dict(r.headers)["ce_id"], r.value) for r in arrived} == {
        (dict(event.headers)["ce_id"], event.value) for event in parsed(path)
    }
    assert {r.key for r in arrived if r.value is not None} == {None}


async def test_no_kafka_is_named(one: str, unused_tcp_port: int) -> None:
    with pytest.raises(BrokerError, match=rf"Kafka at 127.0.0.1:{unused_tcp_port} does not"):
        await send_kafka(one, [f"127.0.0.1:{unused_tcp_port}"], "events")


def test_a_summary_starts_empty() -> None:
    assert Sent() == Sent(0, 0)


def sending(*arguments: str, **settings: str) -> "subprocess.Popen[str]":
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    return subprocess.Popen(
        [sys.executable, "-m", "processor", "send", *arguments],
        env=env | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def says(process: "subprocess.Popen[str]", words: str) -> None:
    """Wait for a line on stderr that has the words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return
    raise AssertionError(f"it ended without {words!r}: {lines}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("to_kafka", [False, True])
def test_a_signal_ends_it_within_a_second(
    number: signal.Signals, to_kafka: bool, unused_tcp_port: int
) -> None:
    if to_kafka:  # it takes connections, and never answers
        with socket.create_server(("127.0.0.1", unused_tcp_port)) as server:
            server.settimeout(60)
            address = f"kafka://127.0.0.1:{unused_tcp_port}"
            process = sending(str(EVENTS), "--to", "kafka:t", PROCESSOR_BROKER=address)
            connection, _ = server.accept()
            with connection:
                stops(process, number)
        return
    process = sending(str(EVENTS), "--to", f"http://127.0.0.1:{unused_tcp_port}/")
    says(process, "accepts no events now")
    stops(process, number)


def test_a_signal_ends_it_while_a_server_does_not_answer(unused_tcp_port: int) -> None:
    with socket.create_server(("127.0.0.1", unused_tcp_port)) as server:
        server.settimeout(60)
        process = sending(str(EVENTS), "--to", f"http://127.0.0.1:{unused_tcp_port}/")
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            assert connection.recv(1)
            stops(process, signal.SIGTERM)


def stops(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    start = time.monotonic()
    process.send_signal(number)
    output, stderr = process.communicate(timeout=60)
    # One second, and the time that a busy machine takes to end a process; a server would be waited for
    # much longer.
    assert time.monotonic() - start < 5
    assert process.returncode == 130, stderr
    assert "stopped: 0 of" in output
    assert "Traceback" not in stderr
    # Nothing was accepted, so nothing is counted.
    assert "events" not in stderr


def test_a_signal_ends_it_while_it_waits_for_standard_input(unused_tcp_port: int) -> None:
    process = sending("-", "--to", f"http://127.0.0.1:{unused_tcp_port}/")
    assert process.stdin is not None
    process.stdin.write(EVENTS.read_text())
    process.stdin.flush()
    says(process, "accepts no events now")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    process.communicate()


async def test_progress_counts_what_was_accepted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(
        CommandProgress, "update", lambda _, position, events: shown.append((position, events))
    )
    answers = [web.json_response({"reason": "no_id"}, status=400)]
    url = await serve(application(Flaky(*answers)))
    await send_http(str(EVENTS), url)
    assert len(shown) == 263
    assert shown[-1] == (EVENTS.stat().st_size, 262)
    assert [events for _, events in shown] == sorted(events for _, events in shown)


def test_the_default_address_is_that_of_the_settings() -> None:
    assert local_ingress(Settings(ingress_port=18080)) == "http://127.0.0.1:18080/"
    secured = Settings(ingress_port=18080, ingress_cert=Path("cert.pem"))
    assert local_ingress(secured) == "https://127.0.0.1:18080/"
    with pytest.raises(SettingsError, match=r"PROCESSOR_INGRESS_PORT is 0.*--to"):
        local_ingress(Settings(ingress_port=0))
