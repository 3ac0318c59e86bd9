"""The metrics port: /metrics, the live page and its JSON, health and readiness. Read only."""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES
from processor.domain.tally.windows import Window
from processor.publish.api import LiveModels, encode_json, live_events
from processor.publish.cardinality import LimitedCounts
from processor.publish.collector import OwnCollector
from processor.publish.cooperative import yielding
from processor.publish.exposition import Exposition
from processor.publish.families import board_rows
from processor.publish.interfaces import CountsSource, Health
from processor.publish.negotiation import accepts_gzip, wants_openmetrics
from processor.publish.page_data import page_data
from processor.publish.time_series import history
from processor.settings import Settings
from processor.telemetry import Telemetry

T = TypeVar("T")

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
JSON = "application/json; charset=utf-8"

#: Fast: bodies of metrics shrink to a fourteenth even so.
_GZIP_LEVEL = 1
#: Below this many bytes an answer is sent as it is.
_GZIP_FROM = 1000

#: The folder of the page's files, and the kinds among them that are served under their own names.
_WEB = files("processor.publish") / "web"
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

#: The page shows labels that come from anybody's events: whatever slips through must not run.
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class _Site:
    board: CountsSource
    health: Health
    telemetry: Telemetry
    settings: Settings
    clock: Callable[[], float]
    registry: CollectorRegistry
    find_ingress: Callable[[], str]

    @property
    def ingress_url(self) -> str:
        """Where events come in over HTTP; empty until that port is open."""
        return self.find_ingress()

    async def metrics(self, request: web.Request) -> web.Response:
        settings = self.settings
        exposition = Exposition(settings.max_classes)
        capped = LimitedCounts(self.board, settings.max_models)
        board = capped.windows(self.clock())
        async for row in yielding(board_rows(board, settings.metrics_by, settings.cell_windows)):
            exposition.add(row)
        openmetrics = wants_openmetrics(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        own = (generate_openmetrics if openmetrics else generate_latest)(self.registry)

        def body() -> bytes:
            return exposition.text(capped.hidden).encode() + own

        return await _answer(request, body, OPENMETRICS if openmetrics else TEXT)

    async def models(self, request: web.Request) -> web.Response:
        windows = self.settings.windows
        window = _chosen(request, "window", {window.name: window for window in windows})
        by = _chosen(request, "by", {by: by for by in BASES})
        board = LimitedCounts(self.board, self.settings.max_models)
        live, now = LiveModels(board, self.settings.max_classes), self.clock()
        result: msgspec.Struct
        if window and by:
            events = live_events(self.telemetry, self.health.gauges())
            result = await live.one(window, by, now, events)
        else:
            result = await live.all([window] if window else windows, [by] if by else BASES, now)
        return await _answer(request, lambda: encode_json(result), JSON)

    async def history(self, request: web.Request) -> web.Response:
        window, by = self._view(request)
        result = await history(self.board, window, by, self.clock())
        return await _answer(request, lambda: encode_json(result), JSON)

    async def page(self, request: web.Request) -> web.Response:
        window, by = self._view(request)
        names = [request.query.get(name) for name in ModelKey._fields]
        key = ModelKey(*(name or "" for name in names)) if None not in names else None
        result = await page_data(self, window, by, key, self.clock())
        return await _answer(request, lambda: encode_json(result), JSON)

    def _view(self, request: web.Request) -> tuple[Window, str]:
        """The window and basis that the query names, or those that a page begins with."""
        windows = {window.name: window for window in self.settings.windows}
        window = _chosen(request, "window", windows) or self.settings.windows[-1]
        return window, _chosen(request, "by", {by: by for by in BASES}) or BASES[0]

    async def alive(self, request: web.Request) -> web.Response:
        alive, reason = self.health.alive()
        return _json({"alive": alive, "reason": reason}, 200 if alive else 503)

    async def ready(self, request: web.Request) -> web.Response:
        wait = _chosen(request, "wait", {"bootstrap": True})
        readiness = self.health.ready()
        if wait and readiness.ready and not readiness.bootstrap.complete:
            readiness = msgspec.structs.replace(
                readiness, ready=False, reason="the bootstrap is not complete"
            )
        return _json(readiness, 200 if readiness.ready else 503)


def make_site(
    board: CountsSource,
    health: Health,
    telemetry: Telemetry,
    settings: Settings,
    clock: Callable[[], float],
    ingress_url: Callable[[], str] = lambda: "",
) -> web.Application:
    """The web application of the metrics port. ``clock`` gives seconds since 1970; ``ingress_url``
    gives the address where events come in over HTTP, empty until that port is open."""
    registry = CollectorRegistry()
    registry.register(OwnCollector(telemetry, health))
    ProcessCollector(registry=registry)
    site = _Site(board, health, telemetry, settings, clock, registry, ingress_url)
    app = web.Application(middlewares=[_name_routes])
    app.on_response_prepare.append(_secure)
    app.add_routes(
        [
            web.get("/", _page(settings)),
            web.get("/metrics", site.metrics),
            web.get("/api/models", site.models),
            web.get("/api/history", site.history),
            web.get("/api/page", site.page),
            web.get("/health", site.alive),
            web.get("/ready", site.ready),
            *_assets(),
        ]
    )
    return app


@web.middleware
async def _name_routes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An address or a method that there is not is answered with those that there are."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as problem:
        routes = [
            resource.canonical
            for resource in request.app.router.resources()
            if PurePath(resource.canonical).suffix not in _KINDS
        ]
        error = f"there is no {request.method} {request.path[:100]}: GET {', '.join(routes)}"
        headers = {"Content-Type": JSON}
        if "Allow" in problem.headers:
            headers["Allow"] = problem.headers["Allow"]
        body = encode_json({"error": error, "routes": routes})
        return web.Response(status=problem.status, body=body, headers=headers)


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def _assets() -> list[web.RouteDef]:
    """A route for each style and script of the page."""
    return [
        web.get(f"/{file.name}", _file(file.read_text(encoding="utf-8"), kind))
        for file in _WEB.iterdir()
        if (kind := _KINDS.get(PurePath(file.name).suffix))
    ]


def _page(settings: Settings) -> Handler:
    # Names of windows and bases are plain words: the settings check them.
    page = (_WEB / "page.html").read_text(encoding="utf-8")
    page = page.replace("{{windows}}", " ".join(window.name for window in settings.windows))
    return _file(page.replace("{{bases}}", " ".join(BASES)), "text/html; charset=utf-8")


def _file(text: str, kind: str) -> Handler:
    body = text.encode()

    async def handler(request: web.Request) -> web.Response:
        return await _answer(request, lambda: body, kind)

    return handler


def _chosen(request: web.Request, name: str, choices: Mapping[str, T]) -> T | None:
    """The choice that the query names, None if it names none; 400 if it is not one of them."""
    value = request.query.get(name)
    if value is None:
        return None
    if value not in choices:
        error = f"{name}={value!r} is not one of {', '.join(choices)}"
        body = {"error": error, "parameter": name, "value": value, "choices": list(choices)}
        raise web.HTTPBadRequest(body=encode_json(body), headers={hdrs.CONTENT_TYPE: JSON})
    return choices[value]


def _json(value: object, status: int) -> web.Response:
    return web.Response(status=status, body=encode_json(value), headers={hdrs.CONTENT_TYPE: JSON})


async def _answer(request: web.Request, body: Callable[[], bytes], kind: str) -> web.Response:
    """The body, put together and compressed in a thread: it may be of megabytes."""
    compress = accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))

    def work() -> tuple[bytes, bool]:
        data = body()
        if not compress or len(data) < _GZIP_FROM:
            return data, False
        return gzip.compress(data, _GZIP_LEVEL, mtime=0), True

    data, compressed = await asyncio.to_thread(work)
    headers = {hdrs.CONTENT_TYPE: kind, hdrs.VARY: "Accept, Accept-Encoding"}
    if compressed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=data, headers=headers)
