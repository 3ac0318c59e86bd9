"""The HTTP ingress: CloudEvents at ``/``, feedback at ``/feedback``."""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar

from aiohttp import web

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Feedback
from processor.domain.model_rules import ModelRules
from processor.errors import ProcessorError
from processor.ingress.answers import Refusal, error, reason_of, verdicts, wants_event
from processor.ingress.cloudevents import Unreadable, to_events, with_advice
from processor.ingress.event_sink import EventSink, Overloaded
from processor.ingress.feedback import EXAMPLES, feedback_event
from processor.ingress.limits import DRAIN_DEADLINE, LATER, Gate, Slot
from processor.ingress.request_lookup import NoLookup, RequestLookup
from processor.ingress.routes import ROUTES
from processor.openapi import Port, document
from processor.settings import Settings
from processor.telemetry import Telemetry

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The largest number of events in one request.
MAX_BATCH = 10_000
#: Seconds between log lines about an error that every request runs into.
_LOG_PAUSE = 10.0
_ENCODINGS = ("identity", "gzip", "deflate")
#: The slot of the request that is being handled.
_SLOT: ContextVar[Slot] = ContextVar("slot")
#: The paths that are labels of a metric; all others are one, so that a scan of ports adds no series.
_PATHS = frozenset(route.path for route in ROUTES)
_SAYS_NOTHING = (
    "the feedback has neither a truth nor a reward, so it judges nothing: send a body like one of the "
    "examples"
)


def make_ingress(
    sink: EventSink,
    settings: Settings,
    clock_ns: Callable[[], int],
    rules: ModelRules | None = None,
    *,
    lookup: RequestLookup | None = None,
    telemetry: Telemetry | None = None,
    other_ports: Sequence[Port] = (),
) -> web.Application:
    """The application of the ingress port; ``clock_ns`` returns nanoseconds since 1970, and ``rules``
    are those of the models file, which can name headers to keep. ``lookup`` tells which requests have
    a prediction, ``telemetry`` counts the requests, and /openapi.json describes the ``other_ports`` too.

    ``app[INGRESS]`` is its `Ingress`: drain it before closing the port, so that new requests get 503
    instead of a refused connection.
    """
    ingress = Ingress(
        sink,
        settings,
        clock_ns,
        rules or ModelRules(),
        lookup or NoLookup(),
        telemetry or Telemetry(),
    )
    app = web.Application(middlewares=[ingress.guard])
    app[INGRESS] = ingress
    described = document([ingress_port(settings), *other_ports])

    async def openapi(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    handlers = {
        "post_events": ingress.events,
        "post_feedback": ingress.feedback,
        "get_openapi": openapi,
    }
    for route in ROUTES:
        app.router.add_route(route.method, route.path, handlers[route.name])
    return app


def ingress_port(settings: Settings) -> Port:
    """The ingress port, for the document of all routes."""
    number = settings.ingress_port or Settings().ingress_port
    return Port("ingress", number, ROUTES, settings.ingress_cert is not None)


class Ingress:
    """The routes of the ingress port, with authorization and limits."""

    def __init__(
        self,
        sink: EventSink,
        settings: Settings,
        clock_ns: Callable[[], int],
        rules: ModelRules,
        lookup: RequestLookup,
        telemetry: Telemetry,
    ) -> None:
        self._sink = sink
        self._rules = rules
        self._lookup = lookup
        self._telemetry = telemetry
        # This decoder's telemetry is discarded: the sink counts the events.
        self._decoder = Decoder(rules, Telemetry())
        self._token = settings.ingress_token.encode()
        self._max_body = settings.ingress_max_body
        self._gate = Gate(settings.ingress_max_in_flight, settings.ingress_max_body)
        self._clock_ns = clock_ns
        self._next_log = 0.0

    @property
    def in_flight(self) -> int:
        """The number of requests that are being read or stored."""
        return self._gate.in_flight

    @property
    def is_draining(self) -> bool:
        """Whether new requests are refused because the service stops."""
        return self._gate.is_draining

    async def drain(self, deadline: float = DRAIN_DEADLINE) -> bool:
        """Refuse new requests and wait ``deadline`` seconds for those in flight; False if some had
        to be aborted."""
        return await self._gate.drain(deadline)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Middleware: answer the request, and count it."""
        start = time.monotonic()
        response = await self._respond(request, handler)
        path = request.path if request.path in _PATHS else "other"
        telemetry = self._telemetry
        telemetry.ingress_requests[path, str(response.status)] += 1
        if reason := reason_of(response):
            telemetry.ingress_refused[reason] += 1
        telemetry.ingress.observe(time.monotonic() - start)
        return response

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Authorize the request, limit the requests in flight, and convert errors to responses."""
        try:
            self._authorize(request)
            async with self._gate.enter() as slot:
                _SLOT.set(slot)
                return await handler(request)
        except Refusal as refusal:
            return refusal.answer()
        except web.HTTPException as exception:  # unknown route or method
            allowed = exception.headers.get("Allow")
            headers = {} if allowed is None else {"Allow": allowed}
            reason = exception.reason.lower().replace(" ", "_")
            detail = (
                f"there is no {request.method} {request.path[:100]}: POST CloudEvents to /, and "
                "feedback to /feedback"
            )
            routes = [f"{route.method} {route.path}" for route in ROUTES]
            return error(exception.status, reason, detail, headers, {"routes": routes})
        except Exception:
            log.exception("a request failed")
            return error(500, "internal", "the processor failed: see its log", {})

    async def events(self, request: web.Request) -> web.Response:
        """Handle ``POST /``: CloudEvents in binary, structured or batched mode."""
        body = await self._body(request)
        now = self._clock_ns()
        content_type = request.headers.get("Content-Type", "")
        try:
            named = self._rules.headers()
            events = to_events(request.raw_headers, content_type, body, now, named)
        except Unreadable as unreadable:
            # The body is kept as a dead letter, and is rejected even if the sink could decode it.
            (letter,) = await self._accept([unreadable.event])
            return verdicts([letter or unreadable.dead_letter], now, unreadable.status)
        if len(events) > MAX_BATCH:
            raise Refusal(413, "too_many", f"{len(events)} events: send {MAX_BATCH} at most")
        results = with_advice(events, await self._accept(events) if events else [])
        return verdicts(results, now, omit_body=wants_event(request.headers.get("Prefer", "")))

    async def feedback(self, request: web.Request) -> web.Response:
        """Handle ``POST /feedback``: a feedback on the prediction whose id is in the header
        ``seldon-puid`` or in the body."""
        body = await self._body(request)
        now = self._clock_ns()
        try:
            event = feedback_event(request.raw_headers, request.query, body, now)
        except ValueError as invalid:
            raise Refusal(400, "bad_request", str(invalid)) from None
        decoded = self._decoder.decode(*event)
        results = await self._accept([event])
        if results[0] is None and not decoded.observations:
            # It is stored and counted (rule 9), but its sender should know.
            results = [DeadLetter("says_nothing", _SAYS_NOTHING)]
        if results[0] is not None:
            return verdicts(results, now, more={"examples": EXAMPLES})
        return verdicts(results, now, more={"matched": self._is_matched(decoded.observations[0])})

    def _is_matched(self, feedback: object) -> bool | None:
        """Whether the request of a feedback has a prediction, None if this cannot be told."""
        if not isinstance(feedback, Feedback):
            return None
        scope = feedback.scope
        return self._lookup.known(scope.namespace, scope.deployment, feedback.request_id)

    def _authorize(self, request: web.Request) -> None:
        if not self._token:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # Compared in constant time, so that the duration reveals nothing about the token.
        given = token.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise Refusal(
                401, "unauthorized", "a bearer token is needed", {"WWW-Authenticate": "Bearer"}
            )

    async def _body(self, request: web.Request) -> bytes:
        """The body, which aiohttp decompresses; both forms must be within the size limit."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in _ENCODINGS:
            detail = f"Content-Encoding {encoding[:60]!r}: use gzip or none"
            raise Refusal(415, "bad_encoding", detail)
        too_large = Refusal(413, "too_large", f"the body is over {self._max_body} bytes")
        if (request.content_length or 0) > self._max_body:
            raise too_large
        slot = _SLOT.get()
        body = bytearray()
        try:
            async for part in request.content.iter_any():
                body += part
                if len(body) > self._max_body:
                    raise too_large
                slot.add(len(part))
        except (web.RequestPayloadError, OSError) as failure:
            # aiohttp would read on, run into the same error and log it with a traceback.
            request.content.feed_eof()
            detail = f"the body can't be read: {failure}"
            raise Refusal(400, "bad_body", detail).closing() from None
        slot.begin_storing()
        return bytes(body)

    async def _accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        try:
            return await self._sink.accept(events)
        except Overloaded as overloaded:
            raise Refusal.retry(
                429, "overloaded", str(overloaded), overloaded.retry_after
            ) from None
        except ProcessorError as failure:
            self._log_failure(failure)
            # The message can contain paths and addresses, which only the log may show.
            detail = "the events can't be stored now: send them again"
            raise Refusal.retry(503, "unavailable", detail, LATER) from None

    def _log_failure(self, failure: ProcessorError) -> None:
        at = asyncio.get_running_loop().time()
        if at >= self._next_log:
            self._next_log = at + _LOG_PAUSE
            log.error("events can't be stored: %s", failure)


INGRESS: web.AppKey[Ingress] = web.AppKey("ingress", Ingress)
