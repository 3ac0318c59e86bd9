"""The routes of the metrics port, as the server registers them and /openapi.json describes them."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

import msgspec

from processor.domain.results import Replay
from processor.domain.statistics.counts import BASES
from processor.openapi import DOCUMENT, Part, Route, content, query
from processor.publish.api import AllWindows
from processor.publish.interfaces import Readiness
from processor.publish.page_data import Page
from processor.publish.time_series import TimeSeries
from processor.publish.workers.access import OPEN_PATHS
from processor.publish.workers.answers import ShownWorkers, WorkerAnswer
from processor.publish.workers.other_workers import WORKER
from processor.publish.workers.views import AppResults, AppWindows

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: The folder of the page's files, and the content types of the ones served under their own names.
WEB = files("processor.publish") / "web"
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

_WRONG = content(
    "a parameter has a value that is not one of its choices",
    "application/json",
    schema={
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "parameter": {"type": "string"},
            "value": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["error", "parameter", "value", "choices"],
    },
)
_UNAUTHORIZED = content(
    "PROCESSOR_METRICS_TOKEN is set, and the request lacks it",
    "application/json",
    schema={
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
    },
)
_WINDOW = query("window", "a window of PROCESSOR_WINDOWS", "all")
_BY = query("by", "the time that counts: that of the request or of the feedback", "request", BASES)
_ALIVE = content(
    "whether the process makes progress",
    "application/json",
    schema={
        "type": "object",
        "properties": {
            "alive": {"type": "boolean"},
            "reason": {"type": "string"},
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
        },
        "required": ["alive", "reason", "problems"],
    },
)


def _schema(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}


def operation_of(asset: str) -> str:
    """The operation's name in the document of a file of the page."""
    return f"get_{asset.replace('.', '_').replace('/', '_')}"


def _asset(name: str) -> Route:
    content_type = CONTENT_TYPES[PurePath(name).suffix].partition(";")[0]
    found = {200: content("the file", content_type, schema={"type": "string"})}
    return Route("GET", f"/{name}", operation_of(name), "A file of the page", found)


def _files(folder: Traversable, path: str = "") -> Iterator[str]:
    """The paths of the page's styles and scripts, those in folders too."""
    for file in folder.iterdir():
        if file.is_dir():
            yield from _files(file, f"{path}{file.name}/")
        elif PurePath(file.name).suffix in CONTENT_TYPES:
            yield path + file.name


#: Files of the page, each with a route of its own.
ASSETS = tuple(sorted(_files(WEB)))

#: With both parameters and without, of an app of one worker and of one with several.
_RESULTS = (AllWindows, Replay, AppWindows, AppResults)
_NAMES = (
    query("namespace", "the model's namespace", "vision"),
    query("deployment", "the model's deployment", "pets"),
    query("predictor", "the model's predictor", "default"),
    query("model", "the model's node", "classifier"),
)


def _of_this_worker() -> Iterator[Route]:
    """The routes on which workers answer one another."""
    axis = (
        query("until", "where the axis ends, in seconds since 1970", "1795165439.5"),
        query("since", "where that of all time begins at the latest", "1795132800.0"),
    )
    parameters = {
        "": (),
        "/models": (_WINDOW, _BY),
        "/history": (_WINDOW, _BY, *axis),
        "/page": (_WINDOW, _BY, *_NAMES),
    }
    names = {"": "get_worker", "/page": "get_worker_page_data"}
    for path, taken in parameters.items():
        name = names.get(path, f"get_worker_{path[1:]}")
        summary = f"What this worker alone answers to /api{path}" if path else "This worker itself"
        responses: dict[int, Part | type[msgspec.Struct]] = {200: WorkerAnswer}
        responses |= {400: _WRONG} if taken else {}
        yield Route("GET", f"{WORKER}{path}", name, summary, responses, taken)


_ROUTES = (
    Route(
        "GET",
        "/",
        "get_page",
        "The live page, for people",
        {200: content("the page", "text/html", schema={"type": "string"})},
    ),
    Route(
        "GET",
        "/metrics",
        "get_metrics",
        "All metrics, as Prometheus text or OpenMetrics",
        {
            200: content(
                "the metrics",
                *(each.partition(";")[0] for each in (TEXT, OPENMETRICS)),
                schema={"type": "string"},
            )
        },
    ),
    Route(
        "GET",
        "/api/models",
        "get_models",
        "The results of all models; with window and by those of one window on one time basis",
        {
            200: content(
                "the results",
                "application/json",
                schema={"anyOf": [_schema(each.__name__) for each in _RESULTS]},
            ),
            400: _WRONG,
        },
        (_WINDOW, _BY),
        types=_RESULTS,
    ),
    Route(
        "GET",
        "/api/history",
        "get_history",
        "Counts and scores of all models over time",
        {200: TimeSeries, 400: _WRONG},
        (_WINDOW, _BY),
    ),
    Route(
        "GET",
        "/api/page",
        "get_page_data",
        "Everything that the live page shows; with the four names of a model that model in detail",
        {200: Page, 400: _WRONG},
        (_WINDOW, _BY, *_NAMES),
    ),
    Route(
        "GET",
        "/api/workers",
        "get_workers",
        "The workers of the app: who has which partitions, and who answers",
        {200: ShownWorkers},
    ),
    *_of_this_worker(),
    Route("GET", "/health", "get_health", "The liveness probe", {200: _ALIVE, 503: _ALIVE}),
    Route(
        "GET",
        "/ready",
        "get_ready",
        "The readiness probe",
        {200: Readiness, 400: _WRONG, 503: Readiness},
        (
            query(
                "wait",
                "bootstrap: 503 until the archive has been read; complete: until all is counted that "
                "was stored at the start",
                "bootstrap",
                ("bootstrap", "complete"),
            ),
        ),
    ),
    DOCUMENT,
    *map(_asset, ASSETS),
)

#: All routes but those of the probes ask for the token, where one is set.
ROUTES = tuple(
    route
    if route.path in OPEN_PATHS
    else route._replace(security=True, responses={**route.responses, 401: _UNAUTHORIZED})
    for route in _ROUTES
)
