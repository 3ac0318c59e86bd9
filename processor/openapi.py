"""The OpenAPI document of the HTTP routes, from the tables of routes that the two ports serve."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import msgspec

#: An object of the document: a parameter, a response, a schema.
Part = Mapping[str, Any]


class Route(NamedTuple):
    """A route of a port, as the document describes it; ``name`` is that of its handler.

    ``responses`` are by status; a response that is a type has the schema of that type as JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    responses: Mapping[int, "Part | type[msgspec.Struct]"]
    parameters: Sequence[Part] = ()
    body: Part | None = None
    security: bool = False
    """Whether the route asks for the bearer token, where one is set."""
    types: Sequence[type[msgspec.Struct]] = ()
    """Types whose schemas the responses refer to by name."""


class Port(NamedTuple):
    """A port of the service: its name, its number, its routes, and whether it speaks TLS."""

    name: str
    number: int
    routes: Sequence[Route]
    is_encrypted: bool = False


def query(name: str, description: str, example: str, values: Sequence[str] = ()) -> Part:
    """A parameter in the query, one of ``values`` if there are any."""
    schema = {"type": "string"} | ({"enum": list(values)} if values else {})
    return _parameter("query", name, description, example, schema)


def header(name: str, description: str, example: str) -> Part:
    """A parameter in the headers."""
    return _parameter("header", name, description, example, {"type": "string", "minLength": 1})


def _parameter(place: str, name: str, description: str, example: str, schema: Part) -> Part:
    found = {"name": name, "in": place, "description": description, "example": example}
    return found | {"schema": schema}


def content(description: str, *media_types: str, schema: Part | None = None) -> Part:
    """A response, or with an empty description a request's body, of these media types."""
    found = {media_type: {"schema": schema or {}} for media_type in media_types}
    return ({"description": description} if description else {}) | {"content": found}


#: The route of the document itself, which both ports have.
DOCUMENT = Route(
    "GET",
    "/openapi.json",
    "get_openapi",
    "This document",
    {200: content("all routes of both ports", "application/json", schema={"type": "object"})},
)


def document(ports: Sequence[Port]) -> bytes:
    """The OpenAPI 3.1 document that describes the routes of these ports, as JSON; their order does not
    matter."""
    ports = sorted(ports, key=lambda port: port.name)
    types = {
        response
        for port in ports
        for route in port.routes
        for response in (*route.responses.values(), *route.types)
        if isinstance(response, type)
    }
    ordered = sorted(types, key=lambda each: each.__name__)
    refs, schemas = msgspec.json.schema_components(
        ordered, schema_hook=_any_value, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(ordered, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for port in ports:
        for route in port.routes:
            operations = paths.setdefault(route.path, {})
            operation = operations.setdefault(route.method.lower(), _operation(route, by_type))
            operation["tags"].append(port.name)
            operation["servers"].append(_server(port))
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Feedback metrics processor",
                "version": _version(),
                "description": "Events and feedback in, live quality metrics of models out.",
            },
            "servers": [_server(port) for port in ports],
            "tags": [{"name": port.name, "description": f"the {port.name} port"} for port in ports],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _any_value(kind: type) -> dict[str, Any]:
    """The schema of a type that msgspec has none for: ``object``, which is any value."""
    if kind is object:
        return {"description": "any value"}
    raise NotImplementedError


def _operation(route: Route, by_type: Mapping[type, Part]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [],
        "servers": [],
    }
    if route.parameters:
        operation["parameters"] = list(route.parameters)
    if route.body is not None:
        operation["requestBody"] = route.body
    if route.security:
        operation["security"] = [{"token": []}, {}]
    operation["responses"] = {
        str(status): content("as JSON", "application/json", schema=by_type[response])
        if isinstance(response, type)
        else response
        for status, response in route.responses.items()
    }
    return operation


def _server(port: Port) -> Part:
    variables = {"host": {"default": "localhost"}, "port": {"default": str(port.number)}}
    url = f"{'https' if port.is_encrypted else 'http'}://{{host}}:{{port}}"
    return {"url": url, "description": f"the {port.name} port", "variables": variables}


def _version() -> str:
    try:
        return version("feedback-metrics-processor")
    except PackageNotFoundError:
        return "unknown"
