"""The routes of the metrics port, as the server registers them and /openapi.json describes them."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from processor.domain.results import Replay
from processor.domain.statistics.counts import BASES
from processor.openapi import DOCUMENT, Part, Route, content, query
from processor.publish.api import AllWindows
from processor.publish.interfaces import Readiness
from processor.publish.page_data import Page
from processor.publish.time_series import TimeSeries

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

ROUTES = (
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
                schema={"anyOf": [_schema("AllWindows"), _schema("Replay")]},
            ),
            400: _WRONG,
        },
        (_WINDOW, _BY),
        types=(AllWindows, Replay),
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
        (
            _WINDOW,
            _BY,
            query("namespace", "the model's namespace", "vision"),
            query("deployment", "the model's deployment", "pets"),
            query("predictor", "the model's predictor", "default"),
            query("model", "the model's node", "classifier"),
        ),
    ),
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
