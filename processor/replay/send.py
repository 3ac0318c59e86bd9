"""An events file played into a running processor: to its ingress, or to a Kafka topic."""

import asyncio
import contextlib
import random
import ssl
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
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
from processor.errors import BrokerError, EventsFileError, ProcessorError, without_credentials
from processor.replay.player import play

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


@dataclass(slots=True)
class Sent:
    """What became of the events: ``refused`` are those not understood, by reason."""

    read: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    seconds: float = 0.0


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
    answer that will not change, `ProcessorError`. With ``loop`` until ``stop`` is set. ``tls`` is for
    an ``https`` address.
    """
    sent = Sent()
    start = time.monotonic()
    queue: asyncio.Queue[RawEvent | None] = asyncio.Queue(connections)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    broken: EventsFileError | None = None
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls or True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
        headers=headers,
        skip_auto_headers=["Content-Type"],
    ) as session:
        sender = _HttpSender(session, url, deadline, sent)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(sender.run(queue))
                try:
                    async with aclosing(play(path, rate, loop, stop)) as events:
                        async for event in events:
                            sent.read += 1
                            await queue.put(event)
                except EventsFileError as error:  # what stands before the trouble is sent
                    broken = error
                for _ in range(connections):
                    await queue.put(None)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    if broken:
        raise broken
    sent.seconds = time.monotonic() - start
    return sent


class _HttpSender:
    def __init__(
        self, session: aiohttp.ClientSession, url: str, deadline: float, sent: Sent
    ) -> None:
        self._session = session
        self._url = url
        self._shown = without_credentials(url)
        self._deadline = deadline
        self._sent = sent

    async def run(self, queue: "asyncio.Queue[RawEvent | None]") -> None:
        """Send what the queue gives, one after another, until it gives None."""
        while (event := await queue.get()) is not None:
            reason = await self._deliver(event)
            if reason:
                self._sent.refused[reason] += 1
            else:
                self._sent.accepted += 1

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
            self._sent.retries += 1
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
    """
    sent = Sent()
    start = time.monotonic()
    producer = AIOKafkaProducer(
        bootstrap_servers=list(servers),
        acks="all",
        linger_ms=5,
        **(kafka_options or {}),
    )
    try:
        await producer.start()
        async with asyncio.timeout(15):
            await producer.partitions_for(topic)
        under_way: deque[asyncio.Future[RecordMetadata]] = deque()
        async with aclosing(play(path, rate, loop, stop)) as events:
            async for event in events:
                sent.read += 1
                if len(under_way) >= _WINDOW:
                    await _acked(under_way.popleft(), sent)
                # aiokafka wants a key or a value; a null value is the tombstone, so it gets a key.
                key = b"" if event.value is None else None
                try:
                    under_way.append(
                        await producer.send(topic, event.value, key, headers=list(event.headers))
                    )
                except MessageSizeTooLargeError:
                    sent.refused["too_large"] += 1
        while under_way:
            await _acked(under_way.popleft(), sent)
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka at {','.join(servers)} does not take events for the topic {topic} "
            f"({str(error) or 'no answer in time'}): check the address, the topic and your rights"
        ) from None
    finally:
        with contextlib.suppress(KafkaError):
            await producer.stop()
    sent.seconds = time.monotonic() - start
    return sent


async def _acked(future: "asyncio.Future[RecordMetadata]", sent: Sent) -> None:
    try:
        await future
        sent.accepted += 1
    except MessageSizeTooLargeError:
        sent.refused["too_large"] += 1
