"""The web application of the metrics port: /metrics, the live page, JSON, health. Read only."""

import asyncio
import gzip
from collections.abc import Callable, Mapping, Sequence
from html import escape
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
from processor.openapi import Port, document
from processor.publish.api import LiveModels, encode_json, live_events
from processor.publish.cardinality import LimitedCounts
from processor.publish.collector import OwnCollector
from processor.publish.cooperative import yielding
from processor.publish.estimates.live import LiveEstimates, ModelEstimates
from processor.publish.exposition import Exposition
from processor.publish.families import model_rows
from processor.publish.http.routes import (
    ASSETS,
    CONTENT_TYPES,
    OPENMETRICS,
    ROUTES,
    TEXT,
    WEB,
    operation_of,
)
from processor.publish.interfaces import WorkerView
from processor.publish.negotiation import accepts_gzip, wants_openmetrics
from processor.publish.page_data import page_data
from processor.publish.terms import AGREEMENT_NOTE, TERMS, THRESHOLDS_NOTE
from processor.publish.time_series import time_series
from processor.settings import Settings

T = TypeVar("T")

JSON = "application/json; charset=utf-8"

#: The fastest level; bodies of metrics shrink to a fourteenth even so.
_GZIP_LEVEL = 1
#: Bytes from which a body is compressed.
_MIN_GZIP_BYTES = 1000

#: The page shows labels from events that anybody may send: a label that gets through as markup must
#: not run as a script.
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Site:
    """The handlers of the routes."""

    def __init__(self, worker: WorkerView) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._estimates = LiveEstimates(self._settings.windows, self._settings.label_maturity)
        self._registry = CollectorRegistry()
        self._registry.register(OwnCollector(worker.telemetry, worker.health))
        ProcessCollector(registry=self._registry)

    async def metrics(self, request: web.Request) -> web.Response:
        settings = self._settings
        exposition = Exposition(settings.max_classes, settings.metrics)
        limited = LimitedCounts(self._worker.counts_source, settings.max_models)
        now = self._worker.clock()
        async for _ in yielding(limited.advance(now)):
            pass
        counts = limited.windows(now)
        estimates: Mapping[ModelKey, ModelEstimates] = {}
        if "nowcast" in settings.metrics and "request" in settings.metrics_by:
            await self._estimates.refresh(limited, now)
            estimates = self._estimates.by_model()
        rows = model_rows(counts, settings.metrics_by, settings.cell_windows, estimates)
        async for row in yielding(rows):
            exposition.add(row)
        for key, each in estimates.items():
            exposition.add_delays(key, each.delays)
        async for key, cohorts in yielding(sorted(limited.cohorts().items())):
            exposition.add_outcomes(key, cohorts.outcomes())
        openmetrics = wants_openmetrics(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        own = (generate_openmetrics if openmetrics else generate_latest)(self._registry)

        def body() -> bytes:
            return exposition.text(limited.hidden, openmetrics).encode() + own

        return await _answer(request, body, OPENMETRICS if openmetrics else TEXT)

    async def models(self, request: web.Request) -> web.Response:
        worker, settings = self._worker, self._settings
        windows = settings.windows
        window = _choice(request, "window", {window.name: window for window in windows})
        by = _choice(request, "by", {by: by for by in BASES})
        limited = LimitedCounts(worker.counts_source, settings.max_models)
        live = LiveModels(limited, settings.max_classes, worker.rules, self._estimates)
        now = worker.clock()
        result: msgspec.Struct
        if window and by:
            events = live_events(worker.telemetry, worker.health.gauges())
            result = await live.one(window, by, now, events)
        else:
            result = await live.all([window] if window else windows, [by] if by else BASES, now)
        return await _answer(request, lambda: encode_json(result), JSON)

    async def history(self, request: web.Request) -> web.Response:
        window, by = self._window_and_basis(request)
        result = await time_series(self._worker.counts_source, window, by, self._worker.clock())
        return await _answer(request, lambda: encode_json(result), JSON)

    async def page(self, request: web.Request) -> web.Response:
        window, by = self._window_and_basis(request)
        names = [request.query.get(name) for name in ModelKey._fields]
        key = ModelKey(*(name or "" for name in names)) if None not in names else None
        estimates: Mapping[ModelKey, ModelEstimates] = {}
        plots = None
        if key is not None:
            source, now = self._worker.counts_source, self._worker.clock()
            await self._estimates.refresh(source, now)
            estimates = self._estimates.by_model()
            plots = await self._estimates.late_days(source, key, now)
        result = await page_data(self._worker, window, by, key, estimates, plots)
        return await _answer(request, lambda: encode_json(result), JSON)

    def _window_and_basis(self, request: web.Request) -> tuple[Window, str]:
        """The window and the basis that the query names; by default the ones that the page opens
        with."""
        windows = {window.name: window for window in self._settings.windows}
        window = _choice(request, "window", windows) or self._settings.windows[-1]
        return window, _choice(request, "by", {by: by for by in BASES}) or BASES[0]

    async def alive(self, request: web.Request) -> web.Response:
        alive, reason = self._worker.health.alive()
        problems = self._worker.health.problems()
        body = {"alive": alive, "reason": reason, "problems": problems}
        return _json(body, 200 if alive else 503)

    async def ready(self, request: web.Request) -> web.Response:
        wait = _choice(request, "wait", {"bootstrap": "bootstrap", "complete": "complete"})
        readiness = self._worker.health.ready()
        waits_for = {
            "bootstrap": not readiness.bootstrap.complete and "the bootstrap is not complete",
            "complete": not readiness.complete
            and "what was stored at the start is not counted yet",
        }
        if wait and readiness.ready and (reason := waits_for[wait]):
            readiness = msgspec.structs.replace(readiness, ready=False, reason=reason)
        return _json(readiness, 200 if readiness.ready else 503)


def make_site(worker: WorkerView, other_ports: Sequence[Port] = ()) -> web.Application:
    """Make the web application of the metrics port; it shows ``worker`` as it is at each request.

    /openapi.json describes the ``other_ports`` too.
    """
    site = _Site(worker)
    app = web.Application(middlewares=[_name_routes])
    app.on_response_prepare.append(_secure)
    described = document([metrics_port(worker.settings), *other_ports]).decode()
    handlers: dict[str, Handler] = {
        "get_page": _page(worker.settings),
        "get_metrics": site.metrics,
        "get_models": site.models,
        "get_history": site.history,
        "get_page_data": site.page,
        "get_health": site.alive,
        "get_ready": site.ready,
        "get_openapi": _file(described, JSON),
        **_assets(),
    }
    for route in ROUTES:
        app.router.add_get(route.path, handlers[route.name])
    return app


def metrics_port(settings: Settings) -> Port:
    """The metrics port, for the document of all routes."""
    return Port("metrics", settings.metrics_port or Settings().metrics_port, ROUTES)


@web.middleware
async def _name_routes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request for an unknown path or method with the list of routes."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as failure:
        routes = [
            resource.canonical
            for resource in request.app.router.resources()
            if PurePath(resource.canonical).suffix not in CONTENT_TYPES
        ]
        error = f"there is no {request.method} {request.path[:100]}: GET {', '.join(routes)}"
        headers = {"Content-Type": JSON}
        if "Allow" in failure.headers:
            headers["Allow"] = failure.headers["Allow"]
        body = encode_json({"error": error, "routes": routes})
        return web.Response(status=failure.status, body=body, headers=headers)


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def _assets() -> dict[str, Handler]:
    """A handler for each style and script of the page."""
    return {
        operation_of(name): _file(
            (WEB / name).read_text(encoding="utf-8"), CONTENT_TYPES[PurePath(name).suffix]
        )
        for name in ASSETS
    }


def _page(settings: Settings) -> Handler:
    # Names of windows and bases are plain words: the settings check them.
    page = (WEB / "page.html").read_text(encoding="utf-8")
    page = page.replace("{{windows}}", " ".join(window.name for window in settings.windows))
    page = page.replace("{{bases}}", " ".join(BASES))
    terms = "".join(f"<dt>{escape(name)}<dd>{escape(text)}" for name, text in TERMS.items())
    page = page.replace("{{agreement}}", AGREEMENT_NOTE).replace("{{thresholds}}", THRESHOLDS_NOTE)
    return _file(page.replace("{{terms}}", terms), "text/html; charset=utf-8")


def _file(text: str, content_type: str) -> Handler:
    body = text.encode()

    async def handler(request: web.Request) -> web.Response:
        return await _answer(request, lambda: body, content_type)

    return handler


def _choice(request: web.Request, name: str, choices: Mapping[str, T]) -> T | None:
    """The choice that the query parameter names, None without that parameter.

    `web.HTTPBadRequest` if its value is not one of ``choices``.
    """
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


async def _answer(
    request: web.Request, body: Callable[[], bytes], content_type: str
) -> web.Response:
    """Respond with the body, which is built and compressed in a thread: it may have megabytes."""
    compress = accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))

    def work() -> tuple[bytes, bool]:
        data = body()
        if not compress or len(data) < _MIN_GZIP_BYTES:
            return data, False
        return gzip.compress(data, _GZIP_LEVEL, mtime=0), True

    data, compressed = await asyncio.to_thread(work)
    headers = {hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"}
    if compressed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=data, headers=headers)
