"""Events in over HTTP: CloudEvents at ``/``, Seldon's feedback at ``/feedback``."""

import asyncio
import hmac
import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from processor.domain.events import DeadLetter, RawEvent
from processor.domain.times import format_time
from processor.errors import ProcessorError
from processor.ingress.cloudevents import BrokenBatch, kept_headers, to_events
from processor.ingress.door import Door, Overloaded
from processor.ingress.feedback import feedback_event
from processor.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BATCH = 10_000
#: Seconds for a body to arrive: a slow sender holds a place among those in flight.
_BODY_DEADLINE = 60.0
#: Seconds that requests in flight get at the end, unless the caller of `drain` says otherwise.
_DRAIN_DEADLINE = 30.0
#: Seconds after which to come again: when all places are taken, and when storing fails.
_SOON, _LATER = 1.0, 5.0
#: Rejected events of a batch that an answer lists.
_LISTED = 100
#: Seconds between log lines about the same trouble, which every request meets.
_LOG_PAUSE = 10.0
_ENCODINGS = ("identity", "gzip", "deflate")


class Refusal(Exception):
    """A request that is answered with an error: ``reason`` for programs, the text for people."""

    def __init__(
        self, status: int, reason: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    @classmethod
    def again(cls, status: int, reason: str, detail: str, seconds: float) -> "Refusal":
        """With Retry-After."""
        return cls(status, reason, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def make_ingress(door: Door, settings: Settings, clock_ns: Callable[[], int]) -> web.Application:
    """The application for the ingress port; ``app[INGRESS]`` is its `Ingress`.

    ``clock_ns`` gives nanoseconds since 1970. At shutdown requests in flight end, new ones get 503.
    """
    ingress = Ingress(door, settings, clock_ns)
    app = web.Application(middlewares=[ingress.guard])
    app[INGRESS] = ingress
    app.router.add_post("/", ingress.events)
    app.router.add_post("/feedback", ingress.feedback)

    async def drain(_: web.Application) -> None:
        await ingress.drain()

    app.on_shutdown.append(drain)
    return app


class Ingress:
    """The routes and their limits."""

    def __init__(self, door: Door, settings: Settings, clock_ns: Callable[[], int]) -> None:
        self._door = door
        self._token = settings.ingress_token.encode()
        self._max_body = settings.ingress_max_body
        self._max_in_flight = settings.ingress_max_in_flight
        self._clock_ns = clock_ns
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._next_log = 0.0

    @property
    def in_flight(self) -> int:
        """Requests that are being read or stored now."""
        return self._in_flight

    async def drain(self, deadline: float = _DRAIN_DEADLINE) -> bool:
        """Refuse new requests and wait for those in flight; False if some last longer (seconds)."""
        self._draining = True
        try:
            async with asyncio.timeout(deadline):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d requests did not end within %g s", self._in_flight, deadline)
            return False
        return True

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who may come in, how many at once, and the form of every error."""
        try:
            self._authorize(request)
            if self._draining:
                raise Refusal.again(503, "shutting_down", "the processor is stopping", _LATER)
            if self._in_flight >= self._max_in_flight:
                raise Refusal.again(
                    429, "overloaded", f"{self._in_flight} requests are in flight", _SOON
                )
            self._in_flight += 1
            self._idle.clear()
            try:
                return await handler(request)
            finally:
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.set()
        except Refusal as refusal:
            return _error(refusal.status, refusal.reason, str(refusal), refusal.headers)
        except web.HTTPException as error:  # no such route or method
            headers = {"Allow": "POST"} if error.status == 405 else {}
            reason = error.reason.lower().replace(" ", "_")
            return _error(error.status, reason, "POST to / or /feedback", headers)
        except Exception:
            log.exception("a request failed")
            return _error(500, "internal", "the processor failed: see its log", {})

    async def events(self, request: web.Request) -> web.Response:
        """``POST /``: CloudEvents in binary, structured or batched mode."""
        body = await self._body(request)
        time = self._clock_ns()
        content_type = request.headers.get("Content-Type", "")
        try:
            events = to_events(request.raw_headers, content_type, body, time)
        except BrokenBatch as error:
            # The door keeps what can't be understood; that it is broken is known already.
            (verdict,) = await self._accept([error.event])
            return _answer([verdict or DeadLetter("bad_json", str(error))], time)
        if len(events) > MAX_BATCH:
            raise Refusal(413, "too_many", f"{len(events)} events: send {MAX_BATCH} at most")
        return _answer(await self._accept(events) if events else [], time)

    async def feedback(self, request: web.Request) -> web.Response:
        """``POST /feedback``: a Seldon feedback body on the prediction named by ``seldon-puid``."""
        body = await self._body(request)
        time = self._clock_ns()
        try:
            event = feedback_event(kept_headers(request.raw_headers), request.query, body, time)
        except ValueError as error:
            raise Refusal(400, "bad_request", str(error)) from None
        return _answer(await self._accept([event]), time)

    def _authorize(self, request: web.Request) -> None:
        if not self._token:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # Compared as bytes, in a time that tells nothing about the token.
        given = token.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise Refusal(
                401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"}
            )

    async def _body(self, request: web.Request) -> bytes:
        """The body, unpacked by aiohttp where it was packed, within the limit in either form."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in _ENCODINGS:
            raise Refusal(415, "bad_encoding", f"Content-Encoding {encoding}: use gzip or none")
        too_large = Refusal(413, "too_large", f"the body is over {self._max_body} bytes")
        if (request.content_length or 0) > self._max_body:
            raise too_large
        parts = bytearray()
        try:
            async with asyncio.timeout(_BODY_DEADLINE):
                async for part in request.content.iter_any():
                    parts += part
                    if len(parts) > self._max_body:
                        raise too_large
        except TimeoutError:
            raise Refusal(408, "too_slow", "the body did not arrive in time") from None
        except (web.RequestPayloadError, OSError) as error:
            # aiohttp would read on, meet the same error and log it with a traceback.
            request.content.feed_eof()
            headers = {"Connection": "close"}
            raise Refusal(400, "bad_body", f"the body can't be read: {error}", headers) from None
        return bytes(parts)

    async def _accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        try:
            return await self._door.accept(events)
        except Overloaded as error:
            raise Refusal.again(429, "overloaded", str(error), error.retry_after) from None
        except ProcessorError as error:
            self._complain(error)
            # Paths and addresses inside are for the log alone.
            detail = "the events can't be stored now: send them again"
            raise Refusal.again(503, "unavailable", detail, _LATER) from None

    def _complain(self, error: ProcessorError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_log:
            self._next_log = now + _LOG_PAUSE
            log.error("events can't be stored: %s", error)


INGRESS: web.AppKey[Ingress] = web.AppKey("ingress", Ingress)


def _answer(verdicts: Sequence[DeadLetter | None], time: int) -> web.Response:
    """202 if any event was understood, or there was none; else 400."""
    rejected = [
        {"index": index, "reason": verdict.reason, "detail": verdict.detail}
        for index, verdict in enumerate(verdicts)
        if verdict is not None
    ]
    body = {"accepted": len(verdicts) - len(rejected), "time": format_time(time)}
    if rejected:
        body |= {"rejected": len(rejected), "rejections": rejected[:_LISTED]}
    if rejected and len(rejected) == len(verdicts):
        first = {key: rejected[0][key] for key in ("reason", "detail")}
        return _json(400, first | body, {})
    return _json(202, body, {})


def _error(status: int, reason: str, detail: str, headers: dict[str, str]) -> web.Response:
    return _json(status, {"reason": reason, "detail": detail}, headers)


def _json(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    response = web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=headers,
    )
    if "Connection" in headers:
        response.force_close()
    return response
