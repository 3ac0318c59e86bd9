"""The web application of the metrics port: /metrics, the live page, JSON, health. Read only."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePath

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES
from processor.openapi import Port, document
from processor.publish.alert_families import recent_samples, target_samples
from processor.publish.api import encode_json
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
from processor.publish.negotiation import (
    JSON,
    json_response,
    query_choice,
    respond,
    wants_openmetrics,
)
from processor.publish.terms import AGREEMENT_NOTE, TERMS, THRESHOLDS_NOTE
from processor.publish.workers.access import require_token
from processor.publish.workers.client import HttpTransport
from processor.publish.workers.other_workers import OtherWorkers
from processor.publish.workers.routes import AppRoutes
from processor.settings import Settings

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

    def __init__(self, worker: WorkerView, estimates: LiveEstimates) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._estimates = estimates
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
        async for key, recent in yielding(limited.recent(now)):
            if (targets := self._worker.rules(key).targets) is not None:
                exposition.add_samples(key, target_samples(targets))
            for labels, samples in recent_samples(
                key, recent, settings.max_classes, settings.metrics
            ):
                exposition.add_samples(labels, samples)
        openmetrics = wants_openmetrics(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        own = (generate_openmetrics if openmetrics else generate_latest)(self._registry)

        def body() -> bytes:
            return exposition.text(limited.hidden, openmetrics).encode() + own

        return await respond(request, body, OPENMETRICS if openmetrics else TEXT)

    async def alive(self, request: web.Request) -> web.Response:
        alive, reason = self._worker.health.alive()
        problems = self._worker.health.problems()
        body = {"alive": alive, "reason": reason, "problems": problems}
        return json_response(body, 200 if alive else 503)

    async def ready(self, request: web.Request) -> web.Response:
        wait = query_choice(request, "wait", {"bootstrap": "bootstrap", "complete": "complete"})
        readiness = self._worker.health.ready()
        waits_for = {
            "bootstrap": not readiness.bootstrap.complete and "the bootstrap is not complete",
            "complete": not readiness.complete
            and "what was stored at the start is not counted yet",
        }
        if wait and readiness.ready and (reason := waits_for[wait]):
            readiness = msgspec.structs.replace(readiness, ready=False, reason=reason)
        return json_response(readiness, 200 if readiness.ready else 503)


def make_site(
    worker: WorkerView, other_ports: Sequence[Port] = (), others: OtherWorkers | None = None
) -> web.Application:
    """Make the web application of the metrics port; it shows ``worker`` as it is at each request.

    /openapi.json describes the ``other_ports`` too. ``others`` are the other workers of its app, by
    default ones that it asks over plain HTTP.
    """
    token = worker.settings.metrics_token
    others = others or OtherWorkers(worker, HttpTransport(token, None))
    estimates = LiveEstimates(worker.settings.windows, worker.settings.label_maturity)
    site = _Site(worker, estimates)
    app = web.Application(middlewares=[require_token(token), _name_routes])
    app.on_response_prepare.append(_secure)

    async def close(_: web.Application) -> None:
        await others.close()

    app.on_cleanup.append(close)
    described = document([metrics_port(worker.settings), *other_ports]).decode()
    handlers: dict[str, Handler] = {
        "get_page": _page(worker.settings),
        "get_metrics": site.metrics,
        **AppRoutes(worker, others, estimates).handlers(),
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
    number = settings.metrics_port or Settings().metrics_port
    return Port("metrics", number, ROUTES, settings.metrics_cert is not None)


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
        return await respond(request, lambda: body, content_type)

    return handler
