"""An events file played into a running processor: to its ingress, or to a Kafka topic."""

import asyncio
import contextlib
import random
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
from processor.replay.player import Played, play
from processor.replay.progress import CommandProgress
from processor.settings import Settings

#: Answers after which the same request can succeed.
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
#: Seconds of the first pause after a failure, and of the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
#: Seconds of Retry-After that are waited for at most.
_LONGEST_WAIT = 30.0
#: Printable ASCII but for what the CloudEvents HTTP binding wants percent-encoded.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
#: Headers that belong to the connection: one in an event would break the request.
_CONNECTION = frozenset(
    {"authorization", "connection", "content-encoding", "content-length", "expect", "host",
     "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
#: Records under way to Kafka at once.
_WINDOW = 10_000
#: Seconds after a stop in which what is under way may still be answered.
_LAST_MOMENT = 0.4


@dataclass(slots=True)
class Sent:
    """What became of the events: ``refused`` are those not understood, by reason. Those that were
    ``read`` and are neither were under way when it was stopped."""

    read: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    seconds: float = 0.0


class _Tally:
    """Counts what becomes of events, and shows how far they are: by those that were answered."""

    def __init__(self, sent: Sent, progress: CommandProgress) -> None:
        self._sent = sent
        self._progress = progress
        self._position = 0
        self._is_waiting = False

    def answered(self, reason: str, position: int) -> None:
        """``reason`` is that of a refusal, empty for none; ``position`` that of the event."""
        if reason:
            self._sent.refused[reason] += 1
        else:
            self._sent.accepted += 1
        self._is_waiting = False
        self._position = max(self._position, position)
        self._progress.update(self._position, self._sent.accepted)

    def retried(self, address: str, last_error: str) -> None:
        """An event is sent again; the first of several is told of."""
        self._sent.retries += 1
        if not self._is_waiting:
            self._is_waiting = True
            self._progress.report(f"{address} takes no events now ({last_error}): trying again")


def local_ingress(settings: Settings) -> str:
    """The address of the ingress that a service with these settings opens on this machine."""
    if not settings.ingress_port:
        raise SettingsError(
            "PROCESSOR_INGRESS_PORT is 0, a free port that the service chose and printed: name that "
            "address (processor send --to, examples.iris --events)"
        )
    scheme = "https" if settings.ingress_cert else "http"
    return f"{scheme}://127.0.0.1:{settings.ingress_port}/"


async def _unless_stopped(sending: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Send until ``stop``; then what is under way has a moment to be answered."""
    task = asyncio.create_task(sending)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait([task], timeout=_LAST_MOMENT)
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
    """Play the events file (``-`` = standard input) to an ingress, at ``rate`` events a second.

    In binary mode, in the file's order but for those on several ``connections`` at once. What is
    refused for now, or meets no server, is sent again for ``deadline`` seconds; then, and on an
    answer that will not change, `ProcessorError`. ``stop`` ends it within half a second, wherever it
    is; with ``loop`` nothing else does. ``tls`` is for an ``https`` address.
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
            sender = _HttpSender(session, url, deadline, _Tally(sent, progress))
            events = _counted(play(path, rate, loop, stop), sent)
            await _unless_stopped(sender.send_all(events, connections), stop)
    sent.seconds = time.monotonic() - start
    return sent


async def _counted(
    events: AsyncGenerator[Played, None], sent: Sent
) -> AsyncGenerator[Played, None]:
    async with aclosing(events):
        async for played in events:
            sent.read += 1
            yield played


class _HttpSender:
    def __init__(
        self, session: aiohttp.ClientSession, url: str, deadline: float, tally: _Tally
    ) -> None:
        self._session = session
        self._url = url
        self._shown = without_credentials(url)
        self._deadline = deadline
        self._tally = tally

    async def send_all(self, events: AsyncGenerator[Played, None], connections: int) -> None:
        """Send all events on so many connections."""
        queue: asyncio.Queue[Played | None] = asyncio.Queue(connections)
        broken: EventsFileError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(self._run(queue))
                try:
                    async with aclosing(events):
                        async for played in events:
                            await queue.put(played)
                except EventsFileError as error:  # what stands before the trouble is sent
                    broken = error
                for _ in range(connections):
                    await queue.put(None)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if broken:
            raise broken

    async def _run(self, queue: "asyncio.Queue[Played | None]") -> None:
        """Send what the queue gives, one after another, until it gives None."""
        while (played := await queue.get()) is not None:
            self._tally.answered(await self._deliver(played.event), played.position)

    async def _deliver(self, event: RawEvent) -> str:
        """Empty when it was accepted, else the reason of the refusal."""
        try:
            headers = _http_headers(event)
        except ValueError:
            return "bad_header"
        end = time.monotonic() + self._deadline
        pause = _FIRST_PAUSE
        while True:
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
                    if answer.status not in _AGAIN:
                        raise ProcessorError(f"{self._shown} takes no events: {_advice(answer)}")
                    wait = _retry_after(answer) or pause
            except aiohttp.InvalidURL:
                raise ProcessorError(
                    f"{self._shown!r} is no address: write it as http://host:port/"
                ) from None
            except aiohttp.ClientSSLError as error:
                raise ProcessorError(
                    f"{self._shown} can't be trusted, or speaks no TLS ({error}): set "
                    "PROCESSOR_INGRESS_CA to its authority's PEM file"
                ) from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                last_error = str(error) or type(error).__name__
                wait = pause
            if time.monotonic() + wait > end:
                raise ProcessorError(
                    f"{self._shown} took no event for {self._deadline:g} s ({last_error}): "
                    "see that the processor runs there"
                )
            self._tally.retried(self._shown, last_error)
            # Jitter: the connections must not all come again at the same moment.
            await asyncio.sleep(wait * random.uniform(1.0, 1.2))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _http_headers(event: RawEvent) -> list[tuple[str, str]]:
    """Headers of a binary-mode request; ValueError for one that HTTP can't carry."""
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
        return f"it answers {answer.status}, so it wants another token (PROCESSOR_INGRESS_TOKEN)"
    return f"it answers {answer.status} {answer.reason}; is it the processor's ingress port?"


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds; None where the answer tells none."""
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
    """Play the events file to a topic as the channel would: null keys, binary mode, acks of all.

    ``kafka_options`` are aiokafka's for the connection. `BrokerError` if Kafka does not take them.
    ``stop`` ends it within a second, wherever it is.
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
            work = _produce(producer, topic, events, _Tally(sent, progress))
            await _unless_stopped(work, stop)
    except (KafkaError, TimeoutError) as error:
        reason = await connection_error(error, servers, kafka_options or {})
        raise BrokerError(
            f"Kafka at {','.join(servers)} does not take events for the topic {topic} "
            f"({broker_trouble(reason)}): check the address, the topic and your rights"
        ) from None
    finally:
        # It waits for what is under way; who has stopped does not.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_LAST_MOMENT if stop.is_set() else None):
                await producer.stop()
    sent.seconds = time.monotonic() - start
    return sent


async def _produce(
    producer: AIOKafkaProducer, topic: str, events: AsyncGenerator[Played, None], tally: _Tally
) -> None:
    await producer.start()
    async with asyncio.timeout(15):
        await producer.partitions_for(topic)
    under_way: deque[tuple[asyncio.Future[RecordMetadata], int]] = deque()
    async with aclosing(events):
        async for event, position in events:
            while under_way and (len(under_way) >= _WINDOW or under_way[0][0].done()):
                await _acked(*under_way.popleft(), tally)
            # aiokafka wants a key or a value; a null value is the tombstone, so it gets a key.
            key = b"" if event.value is None else None
            try:
                future = await producer.send(topic, event.value, key, headers=list(event.headers))
            except MessageSizeTooLargeError:
                tally.answered("too_large", position)
            else:
                under_way.append((future, position))
    while under_way:
        await _acked(*under_way.popleft(), tally)


async def _acked(future: "asyncio.Future[RecordMetadata]", position: int, tally: _Tally) -> None:
    try:
        await future
        tally.answered("", position)
    except MessageSizeTooLargeError:
        tally.answered("too_large", position)
