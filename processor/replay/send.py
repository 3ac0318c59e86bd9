"""Play an events file into a running processor: to its ingress, or to a Kafka topic."""

import asyncio
import contextlib
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from processor.backoff import Backoff
from processor.domain.events.raw_event import RawEvent
from processor.errors import (
    BrokerError,
    EventsFileError,
    ProcessorError,
    SettingsError,
    without_credentials,
)
from processor.kafka.reading import broker_trouble, connection_error
from processor.replay.files import file_size
from processor.replay.player import PlayedEvent, play
from processor.replay.progress import CommandProgress
from processor.settings import Settings

#: HTTP statuses after which the same request can succeed.
_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
#: Seconds before the first retry, and the maximum.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
#: Maximum number of seconds to wait for a header Retry-After.
_LONGEST_WAIT = 30.0
#: Printable ASCII without the characters that the CloudEvents HTTP binding percent-encodes.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
#: Headers of the connection, which are not sent: one from an event would break the request.
_CONNECTION = frozenset(
    {"authorization", "connection", "content-encoding", "content-length", "expect", "host",
     "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
#: Maximum number of records sent to Kafka and not acknowledged yet.
_MAX_IN_FLIGHT = 10_000
#: Seconds after a stop in which events in flight may still be acknowledged.
_GRACE_SECONDS = 0.4


@dataclass(slots=True)
class Sent:
    """Numbers of events: ``refused`` ones could not be decoded, by reason. Events that were ``read`` and
    are neither accepted nor refused were in flight when sending was stopped."""

    read: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    seconds: float = 0.0


class _Results:
    """Counts accepted and refused events, and shows the progress."""

    def __init__(self, sent: Sent, progress: CommandProgress) -> None:
        self._sent = sent
        self._progress = progress
        self._position = 0
        self._is_waiting = False

    def answered(self, reason: str, position: int) -> None:
        """Count the event at ``position`` of the file: refused for ``reason``, accepted if that is
        empty."""
        if reason:
            self._sent.refused[reason] += 1
        else:
            self._sent.accepted += 1
        self._is_waiting = False
        self._position = max(self._position, position)
        self._progress.update(self._position, self._sent.accepted)

    def retried(self, address: str, last_error: str) -> None:
        """Count a retry, and report the first of several in a row."""
        self._sent.retries += 1
        if not self._is_waiting:
            self._is_waiting = True
            self._progress.report(f"{address} accepts no events now ({last_error}): retrying")


def local_ingress(settings: Settings) -> str:
    """The address of the ingress of a service with these settings on this machine. `SettingsError` if
    the service chooses a free port."""
    if not settings.ingress_port:
        raise SettingsError(
            "PROCESSOR_INGRESS_PORT is 0, a free port that the service chose and printed: name that "
            "address (processor send --to, examples.iris --events)"
        )
    scheme = "https" if settings.ingress_cert else "http"
    return f"{scheme}://127.0.0.1:{settings.ingress_port}/"


async def _unless_stopped(sending: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Send until ``stop`` is set; then wait a moment for the answers to the events in flight."""
    task = asyncio.create_task(sending)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait([task], timeout=_GRACE_SECONDS)
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def send_http(
    path: str,
    url: str,
    rate: float | None = None,
    loop: bool = False,
    *,
    token: str = "",
    tls: ssl.SSLContext | None = None,
    connections: int = 8,
    deadline: float = 60.0,
    stop: asyncio.Event | None = None,
) -> Sent:
    """Send an events file (``-`` for standard input) to an ingress, ``rate`` events a second.

    Events are sent in binary mode on several ``connections``, so their order is kept only roughly. An
    event that is refused temporarily, or finds no server, is retried for ``deadline`` seconds; after
    that, or for a permanent error, `ProcessorError` is raised. With ``loop`` the file is repeated until
    ``stop`` is set, which ends the sending within half a second. ``tls`` is for an ``https`` address.
    """
    stop = stop or asyncio.Event()
    sent = Sent()
    start = time.monotonic()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls or True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
        headers=headers,
        skip_auto_headers=["Content-Type"],
    ) as session:
        with CommandProgress("sending", None if loop else file_size(path)) as progress:
            sender = _HttpSender(session, url, deadline, _Results(sent, progress))
            events = _counted(play(path, rate, loop, stop), sent)
            await _unless_stopped(sender.send_all(events, connections), stop)
    sent.seconds = time.monotonic() - start
    return sent


async def _counted(
    events: AsyncGenerator[PlayedEvent, None], sent: Sent
) -> AsyncGenerator[PlayedEvent, None]:
    async with aclosing(events):
        async for played in events:
            sent.read += 1
            yield played


class _HttpSender:
    """Sends events to one address, and retries each until it is accepted or refused."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, deadline: float, results: _Results
    ) -> None:
        self._session = session
        self._url = url
        self._shown = without_credentials(url)
        self._deadline = deadline
        self._results = results

    async def send_all(self, events: AsyncGenerator[PlayedEvent, None], connections: int) -> None:
        """Send all events on so many connections."""
        queue: asyncio.Queue[PlayedEvent | None] = asyncio.Queue(connections)
        broken: EventsFileError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(self._run(queue))
                try:
                    async with aclosing(events):
                        async for played in events:
                            await queue.put(played)
                except EventsFileError as error:  # the events before the error are sent
                    broken = error
                for _ in range(connections):
                    await queue.put(None)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if broken:
            raise broken

    async def _run(self, queue: "asyncio.Queue[PlayedEvent | None]") -> None:
        """Send the events of the queue, one after another, until it yields None."""
        while (played := await queue.get()) is not None:
            self._results.answered(await self._deliver(played.event), played.position)

    async def _deliver(self, event: RawEvent) -> str:
        """Send one event until it is answered. Returns the reason of a refusal, empty if accepted."""
        try:
            headers = _http_headers(event)
        except ValueError:
            return "bad_header"
        end = time.monotonic() + self._deadline
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            asked = None
            try:
                async with self._session.post(
                    self._url, data=event.value or b"", headers=headers, allow_redirects=False
                ) as answer:
                    if answer.status == 202:
                        await answer.read()
                        return ""
                    if answer.status in (400, 413, 415):
                        return await _reason(answer)
                    last_error = f"it answers {answer.status} {answer.reason}"
                    if answer.status not in _RETRYABLE:
                        raise ProcessorError(f"{self._shown} accepts no events: {_advice(answer)}")
                    asked = _retry_after(answer) or None
            except aiohttp.InvalidURL:
                raise ProcessorError(
                    f"{self._shown!r} is not an address: write it as http://host:port/"
                ) from None
            except aiohttp.ClientSSLError as error:
                raise ProcessorError(
                    f"{self._shown} can't be trusted, or speaks no TLS ({error}): set "
                    "PROCESSOR_INGRESS_CA to its authority's PEM file"
                ) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                last_error = str(error) or type(error).__name__
            if time.monotonic() + (asked or backoff.delay) > end:
                raise ProcessorError(
                    f"{self._shown} accepted no event for {self._deadline:g} s ({last_error}): "
                    "check that the processor runs there"
                )
            self._results.retried(self._shown, last_error)
            await backoff.sleep(asked)


def _http_headers(event: RawEvent) -> list[tuple[str, str]]:
    """The headers of a binary-mode request; ValueError for a header that HTTP can't carry."""
    headers = []
    for name, value in event.headers:
        if name.startswith("ce_"):
            headers.append(("ce-" + name[3:], quote(value, safe=_SAFE)))
        elif name not in _CONNECTION:
            text = value.decode()
            if not text.isprintable():
                raise ValueError(f"header {name} has control characters")
            headers.append((name, text))
    return headers


async def _reason(answer: aiohttp.ClientResponse) -> str:
    try:
        reason = msgspec.json.decode(await answer.read(), type=dict[str, Any]).get("reason")
    except msgspec.MsgspecError:
        reason = None
    return str(reason or answer.status)


def _advice(answer: aiohttp.ClientResponse) -> str:
    if answer.status in (401, 403):
        return f"it answers {answer.status}, so it requires another token (PROCESSOR_INGRESS_TOKEN)"
    return f"it answers {answer.status} {answer.reason}; is it the processor's ingress port?"


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """The seconds of the header Retry-After; None without one."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else None


async def send_kafka(
    path: str,
    servers: Sequence[str],
    topic: str,
    rate: float | None = None,
    loop: bool = False,
    kafka_options: Mapping[str, Any] | None = None,
    *,
    stop: asyncio.Event | None = None,
) -> Sent:
    """Send an events file (``-`` for standard input) to a topic, ``rate`` events a second.

    Records are like those of a Knative channel: binary mode, without keys, acknowledged by all replicas.
    ``kafka_options`` are aiokafka's connection options. With ``loop`` the file is repeated until
    ``stop`` is set, which ends the sending within a second. `BrokerError` if Kafka does not accept the
    events.
    """
    stop = stop or asyncio.Event()
    sent = Sent()
    start = time.monotonic()
    producer = AIOKafkaProducer(
        bootstrap_servers=list(servers),
        acks="all",
        linger_ms=5,
        **(kafka_options or {}),
    )
    try:
        with CommandProgress("sending", None if loop else file_size(path)) as progress:
            events = _counted(play(path, rate, loop, stop), sent)
            work = _produce(producer, topic, events, _Results(sent, progress))
            await _unless_stopped(work, stop)
    except (KafkaError, TimeoutError) as error:
        reason = await connection_error(error, servers, kafka_options or {})
        raise BrokerError(
            f"Kafka at {','.join(servers)} does not take events for the topic {topic} "
            f"({broker_trouble(reason)}): check the address, the topic and your rights"
        ) from None
    finally:
        # `stop` waits for the records in flight, which a user who interrupts does not want.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS if stop.is_set() else None):
                await producer.stop()
    sent.seconds = time.monotonic() - start
    return sent


async def _produce(
    producer: AIOKafkaProducer,
    topic: str,
    events: AsyncGenerator[PlayedEvent, None],
    results: _Results,
) -> None:
    await producer.start()
    async with asyncio.timeout(15):
        await producer.partitions_for(topic)
    in_flight: deque[tuple[asyncio.Future[RecordMetadata], int]] = deque()
    async with aclosing(events):
        async for event, position in events:
            while in_flight and (len(in_flight) >= _MAX_IN_FLIGHT or in_flight[0][0].done()):
                await _acked(*in_flight.popleft(), results)
            # aiokafka requires a key or a value, so a record without a value gets an empty key.
            key = b"" if event.value is None else None
            try:
                future = await producer.send(topic, event.value, key, headers=list(event.headers))
            except MessageSizeTooLargeError:
                results.answered("too_large", position)
            else:
                in_flight.append((future, position))
    while in_flight:
        await _acked(*in_flight.popleft(), results)


async def _acked(
    future: "asyncio.Future[RecordMetadata]", position: int, results: _Results
) -> None:
    try:
        await future
        results.answered("", position)
    except MessageSizeTooLargeError:
        results.answered("too_large", position)
