"""Responses in the format and compression that a request accepts, and the choices of its query."""

import asyncio
import gzip
from collections.abc import Callable, Mapping
from typing import TypeVar

from aiohttp import hdrs, web

from processor.publish.api import encode_json

T = TypeVar("T")

JSON = "application/json; charset=utf-8"

#: The fastest level; bodies of metrics shrink to a fourteenth even so.
_GZIP_LEVEL = 1
#: Bytes from which a body is compressed.
_MIN_GZIP_BYTES = 1000


def weights(header: str) -> dict[str, float]:
    """The weight (q, from 0 to 1) of each choice in an Accept header.

    Choices are in lower case and without their parameters; a repeated one has its greatest weight.

    >>> weights("text/plain;version=0.0.4;q=0.5, */*;q=0.1, GZIP")
    {'text/plain': 0.5, '*/*': 0.1, 'gzip': 1.0}
    """
    result: dict[str, float] = {}
    for choice in header.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if name:
            result[name] = max(weight, result.get(name, 0.0))
    return result


def wants_openmetrics(accept: str) -> bool:
    """Whether the client names OpenMetrics and does not prefer plain text.

    >>> wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.4")
    True
    >>> wants_openmetrics("*/*")
    False
    """
    choices = weights(accept)
    weight = choices.get("application/openmetrics-text", 0.0)
    return weight > 0 and weight >= choices.get("text/plain", 0.0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client accepts a body compressed by gzip.

    >>> accepts_gzip("deflate, gzip;q=0.5"), accepts_gzip("gzip;q=0"), accepts_gzip("")
    (True, False, False)
    """
    choices = weights(accept_encoding)
    return choices.get("gzip", choices.get("*", 0.0)) > 0


def query_choice(request: web.Request, name: str, choices: Mapping[str, T]) -> T | None:
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


def json_response(value: object, status: int) -> web.Response:
    """A response with a small value as JSON."""
    return web.Response(status=status, body=encode_json(value), headers={hdrs.CONTENT_TYPE: JSON})


async def respond(
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
