"""Events in over HTTP: CloudEvents at ``/``, Seldon's feedback at ``/feedback``."""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar

from aiohttp import web

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import CapacityError, ProcessorError
from processor.ingress.answers import Refusal, error, verdicts, wants_event
from processor.ingress.cloudevents import Unreadable, to_events, with_advice
from processor.ingress.event_sink import EventSink, Overloaded
from processor.ingress.feedback import feedback_event
from processor.ingress.limits import DRAIN_DEADLINE, LATER, MUCH_LATER, Gate, Place
from processor.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Events in one request.
MAX_BATCH = 10_000
#: Seconds between log lines about the same trouble, which every request meets.
_LOG_PAUSE = 10.0
_ENCODINGS = ("identity", "gzip", "deflate")
#: The place of the request that is being handled.
_PLACE: ContextVar[Place] = ContextVar("place")


def make_ingress(
    sink: EventSink, settings: Settings, clock_ns: Callable[[], int]
) -> web.Application:
    """The application for the ingress port; ``app[INGRESS]`` is its `Ingress`, to be drained before
    the port is closed: until then new requests get 503. ``clock_ns``: nanoseconds since 1970."""
    ingress = Ingress(sink, settings, clock_ns)
    app = web.Application(middlewares=[ingress.guard])
    app[INGRESS] = ingress
    app.router.add_post("/", ingress.events)
    app.router.add_post("/feedback", ingress.feedback)
    return app


class Ingress:
    """The routes and their limits."""

    def __init__(self, sink: EventSink, settings: Settings, clock_ns: Callable[[], int]) -> None:
        self._sink = sink
        self._token = settings.ingress_token.encode()
        self._max_body = settings.ingress_max_body
        self._gate = Gate(settings.ingress_max_in_flight, settings.ingress_max_body)
        self._clock_ns = clock_ns
        self._next_log = 0.0

    @property
    def in_flight(self) -> int:
        """Requests that are being read or stored now."""
        return self._gate.in_flight

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused."""
        return self._gate.is_draining

    async def drain(self, deadline: float = DRAIN_DEADLINE) -> bool:
        """Refuse new requests and end those in flight; False if some had to be cut short."""
        return await self._gate.drain(deadline)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who may come in, how many at once, and the form of every error."""
        try:
            self._authorize(request)
            async with self._gate.enter() as place:
                _PLACE.set(place)
                return await handler(request)
        except Refusal as refusal:
            return refusal.answer()
        except web.HTTPException as problem:  # no such route or method
            headers = {"Allow": "POST"} if problem.status == 405 else {}
            reason = problem.reason.lower().replace(" ", "_")
            detail = (
                f"there is no {request.method} {request.path[:100]}: POST CloudEvents to /, and "
                "feedback in Seldon's form to /feedback"
            )
            return error(problem.status, reason, detail, headers)
        except Exception:
            log.exception("a request failed")
            return error(500, "internal", "the processor failed: see its log", {})

    async def events(self, request: web.Request) -> web.Response:
        """``POST /``: CloudEvents in binary, structured or batched mode."""
        body = await self._body(request)
        time = self._clock_ns()
        content_type = request.headers.get("Content-Type", "")
        try:
            events = to_events(request.raw_headers, content_type, body, time)
        except Unreadable as problem:
            # The door keeps what can't be understood; that it is none is known already.
            (verdict,) = await self._accept([problem.event])
            return verdicts([verdict or problem.letter], time, problem.status)
        if len(events) > MAX_BATCH:
            raise Refusal(413, "too_many", f"{len(events)} events: send {MAX_BATCH} at most")
        is_empty = wants_event(request.headers.get("Prefer", ""))
        found = await self._accept(events) if events else []
        return verdicts(with_advice(events, found), time, is_empty=is_empty)

    async def feedback(self, request: web.Request) -> web.Response:
        """``POST /feedback``: a Seldon feedback body on the prediction named by ``seldon-puid``."""
        body = await self._body(request)
        time = self._clock_ns()
        try:
            event = feedback_event(request.raw_headers, request.query, body, time)
        except ValueError as problem:
            raise Refusal(400, "bad_request", str(problem)) from None
        return verdicts(await self._accept([event]), time)

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
            detail = f"Content-Encoding {encoding[:60]!r}: use gzip or none"
            raise Refusal(415, "bad_encoding", detail)
        too_large = Refusal(413, "too_large", f"the body is over {self._max_body} bytes")
        if (request.content_length or 0) > self._max_body:
            raise too_large
        place = _PLACE.get()
        parts = bytearray()
        try:
            async for part in request.content.iter_any():
                parts += part
                if len(parts) > self._max_body:
                    raise too_large
                place.add(len(part))
        except (web.RequestPayloadError, OSError) as problem:
            # aiohttp would read on, meet the same error and log it with a traceback.
            request.content.feed_eof()
            detail = f"the body can't be read: {problem}"
            raise Refusal(400, "bad_body", detail).closing() from None
        place.store()
        return bytes(parts)

    async def _accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        try:
            return await self._sink.accept(events)
        except Overloaded as problem:
            raise Refusal.again(429, "overloaded", str(problem), problem.retry_after) from None
        except CapacityError as problem:
            raise Refusal.again(503, "full", str(problem), MUCH_LATER) from None
        except ProcessorError as problem:
            self._complain(problem)
            # Paths and addresses inside are for the log alone.
            detail = "the events can't be stored now: send them again"
            raise Refusal.again(503, "unavailable", detail, LATER) from None

    def _complain(self, problem: ProcessorError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_log:
            self._next_log = now + _LOG_PAUSE
            log.error("events can't be stored: %s", problem)


INGRESS: web.AppKey[Ingress] = web.AppKey("ingress", Ingress)
