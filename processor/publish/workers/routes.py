"""The routes that show models: of the whole app for readers, and of this worker for the others."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from processor.domain.model_key import ModelKey
from processor.domain.results import Replay
from processor.domain.statistics.counts import BASES
from processor.domain.tally.windows import Window
from processor.publish.api import AllWindows, LiveModels, encode_json, live_events
from processor.publish.cardinality import LimitedCounts
from processor.publish.estimates.live import LiveEstimates, ModelEstimates
from processor.publish.interfaces import WorkerView
from processor.publish.negotiation import JSON, query_choice, respond
from processor.publish.page_data import PageModels, page_models
from processor.publish.time_series import TimeSeries, time_series
from processor.publish.workers.other_workers import WORKER, OtherWorkers, View
from processor.publish.workers.views import (
    AppView,
    Route,
    nothing_decoder,
    page_decoder,
    page_of,
    results_decoder,
    results_of,
    series_decoder,
    windows_decoder,
)


class AppRoutes:
    """The handlers of the routes below ``/api``."""

    def __init__(self, worker: WorkerView, others: OtherWorkers, estimates: LiveEstimates) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._estimates = estimates
        self._app = AppView(worker, others)

    def handlers(self) -> dict[str, Handler]:
        """The handlers by the names of their routes."""
        return {
            "get_models": self.models,
            "get_history": self.history,
            "get_page_data": self.page,
            "get_workers": self.workers,
            "get_worker": self.of_this_worker,
            "get_worker_models": self.of_this_worker,
            "get_worker_history": self.of_this_worker,
            "get_worker_page_data": self.of_this_worker,
        }

    async def models(self, request: web.Request) -> web.Response:
        """Handle ``GET /api/models``."""
        result: msgspec.Struct
        if len({"window", "by"} & request.query.keys()) == 2:
            result = await self._app.results(self._results(request))
        else:
            result = await self._app.windows(self._windows(request))
        return await respond(request, lambda: encode_json(result), JSON)

    async def history(self, request: web.Request) -> web.Response:
        """Handle ``GET /api/history``."""
        until = self._worker.clock()
        result = await self._app.series(lambda since: self._series(request, until, since))
        return await respond(request, lambda: encode_json(result), JSON)

    async def page(self, request: web.Request) -> web.Response:
        """Handle ``GET /api/page``."""
        window, by = self._window_and_basis(request)
        result = await self._app.page(self._page(request), window, by, _model_key(request))
        return await respond(request, lambda: encode_json(result), JSON)

    async def workers(self, request: web.Request) -> web.Response:
        """Handle ``GET /api/workers``."""
        result = await self._app.workers(self._nothing())
        return await respond(request, lambda: encode_json(result), JSON)

    async def of_this_worker(self, request: web.Request) -> web.StreamResponse:
        """Handle ``GET /api/worker``: what this worker alone has, for the other workers."""
        route: Route[Any]
        match request.path.removeprefix(WORKER).strip("/"):
            case "models" if len({"window", "by"} & request.query.keys()) == 2:
                route = self._results(request)
            case "models":
                route = self._windows(request)
            case "history":
                until, since = _seconds(request, "until"), _seconds(request, "since")
                route = self._series(request, until or self._worker.clock(), since)
            case "page":
                route = self._page(request)
            case _:
                route = self._nothing()
        # The headers go first: they tell a worker that computes from one that does not answer.
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: JSON})
        with suppress(ConnectionError):  # the other one has stopped waiting
            await response.prepare(request)
            answer = await self._app.own_answer(route)
            await response.write(await asyncio.to_thread(encode_json, answer))
            await response.write_eof()
        return response

    # -- the routes of the whole app: what this worker says, and what the others are asked

    def _results(self, request: web.Request) -> Route[Replay]:
        worker = self._worker
        window, by = self._window_and_basis(request)

        async def own() -> Replay:
            events = live_events(worker.telemetry, worker.health.gauges())
            return await self._live().one(window, by, worker.clock(), events)

        view = View("models", _query(window=window.name, by=by))
        return Route(view, own, results_decoder, results_of(window.name, by))

    def _windows(self, request: web.Request) -> Route[AllWindows]:
        windows = self._settings.windows
        window = query_choice(request, "window", {window.name: window for window in windows})
        by = query_choice(request, "by", {by: by for by in BASES})
        asked, bases = [window] if window else windows, [by] if by else BASES

        async def own() -> AllWindows:
            return await self._live().all(asked, bases, self._worker.clock())

        query = _query(window=window.name if window else None, by=by)
        return Route(View("models", query), own, windows_decoder)

    def _series(self, request: web.Request, until: float, since: float | None) -> Route[TimeSeries]:
        window, by = self._window_and_basis(request)

        async def own() -> TimeSeries:
            counts_source = self._worker.counts_source
            return await time_series(counts_source, window, by, until, since=since)

        query = _query(window=window.name, by=by)
        hints = _query(until=repr(until), since=None if since is None else repr(since))
        return Route(View("history", query, hints), own, series_decoder)

    def _page(self, request: web.Request) -> Route[PageModels]:
        window, by = self._window_and_basis(request)
        key = _model_key(request)

        async def own() -> PageModels:
            estimates: Mapping[ModelKey, ModelEstimates] = {}
            plots = None
            if key is not None:
                source, now = self._worker.counts_source, self._worker.clock()
                await self._estimates.refresh(source, now)
                estimates = self._estimates.by_model()
                plots = await self._estimates.late_days(source, key, now)
            return await page_models(self._worker, window, by, key, estimates, plots)

        names = {} if key is None else key._asdict()
        view = View("page", _query(window=window.name, by=by, **names))
        return Route(view, own, page_decoder, page_of(window.name, by))

    def _nothing(self) -> Route[None]:
        async def own() -> None:
            return None

        return Route(View(""), own, nothing_decoder)

    def _live(self) -> LiveModels:
        worker, settings = self._worker, self._settings
        limited = LimitedCounts(worker.counts_source, settings.max_models)
        return LiveModels(limited, settings.max_classes, worker.rules, self._estimates)

    def _window_and_basis(self, request: web.Request) -> tuple[Window, str]:
        """The window and the basis that the query names; by default the ones that the page opens
        with."""
        windows = {window.name: window for window in self._settings.windows}
        window = query_choice(request, "window", windows) or self._settings.windows[-1]
        return window, query_choice(request, "by", {by: by for by in BASES}) or BASES[0]


def _query(**values: str | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in values.items() if value is not None)


def _model_key(request: web.Request) -> ModelKey | None:
    """The model that the query names, None unless it has all four names."""
    names = [request.query.get(name) for name in ModelKey._fields]
    return ModelKey(*(name or "" for name in names)) if None not in names else None


def _seconds(request: web.Request, name: str) -> float | None:
    """The time (seconds since 1970) that the query parameter gives, None without that parameter."""
    value = request.query.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", value):
        error = f"{name}={value[:40]!r} is no time in seconds since 1970"
        body = {"error": error, "parameter": name, "value": value[:40], "choices": []}
        raise web.HTTPBadRequest(body=encode_json(body), headers={hdrs.CONTENT_TYPE: JSON})
    return float(value)
