"""The routes of the ingress port, as the server registers them and /openapi.json describes them."""

import msgspec

from processor.ingress.feedback import EXAMPLES
from processor.openapi import DOCUMENT, Part, Route, content, header, query

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_REJECTION = {
    "type": "object",
    "properties": {"index": _COUNT, "reason": _TEXT, "detail": _TEXT},
    "required": ["index", "reason", "detail"],
}
_ACCEPTED = {
    "accepted": _COUNT,
    "time": {"type": "string", "format": "date-time"},
    "rejected": _COUNT,
    "rejections": {"type": "array", "items": _REJECTION},
}
_MATCHED = {
    "type": ["boolean", "null"],
    "description": "true: a prediction for the request is in memory; false: there is none yet; null: "
    "this worker cannot tell",
}


def _error(description: str, retry: bool = False) -> Part:
    """A response with an error; ``retry``: it has the header Retry-After."""
    schema = {
        "type": "object",
        "properties": {
            "reason": _TEXT,
            "detail": _TEXT,
            "examples": {"type": "array", "items": _TEXT},
            **_ACCEPTED,
        },
        "required": ["reason", "detail"],
    }
    found = dict(content(description, "application/json", schema=schema))
    if retry:
        seconds = {"description": "seconds to wait", "schema": {"type": "integer"}}
        found["headers"] = {"Retry-After": seconds}
    return found


def _stored(description: str, **more: Part) -> Part:
    schema = {
        "type": "object",
        "properties": _ACCEPTED | more,
        "required": ["accepted", "time", *more],
    }
    return content(description, "application/json", schema=schema)


_REFUSALS = {
    400: _error("the request or its events can't be read"),
    401: _error("the bearer token is missing or another one"),
    408: _error("the body did not arrive in time"),
    413: _error("the body is too large, or the batch has too many events"),
    415: _error("the event format is not JSON, or the Content-Encoding is unknown"),
    429: _error("too many requests or bytes at once", retry=True),
    500: _error("a defect of the processor"),
    503: _error("the events can't be stored now", retry=True),
}
_ANY_BODY = {"required": False, "content": {"*/*": {"schema": {}}}}
_FEEDBACK_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "Seldon's feedback, the body of Seldon's performance-metrics module, or "
                "a truth of one value, or of one value a row",
                "properties": {
                    "truth": {},
                    "reward": {"type": ["number", "boolean", "string", "null"]},
                    "feedback": {"type": "object"},
                    "requestId": _TEXT,
                    "batchId": {"type": "integer"},
                    **dict.fromkeys(("namespace", "pipelineName", "modelName"), _TEXT),
                },
            },
            "examples": {
                f"form {at}": {"value": msgspec.json.decode(text)}
                for at, text in enumerate(EXAMPLES, 1)
            },
        }
    },
}

EVENTS = Route(
    "POST",
    "/",
    "post_events",
    "Store CloudEvents: in binary, structured or batched mode",
    {202: _stored("the events are stored")} | _REFUSALS,
    [
        header(*each)
        for each in (
            ("Ce-Type", "the type of a single event in binary mode", "io.seldon.serving.feedback"),
            ("Ce-Requestid", "the request that it belongs to", "order-17"),
            ("Ce-Inferenceservicename", "the deployment", "pets"),
            ("Ce-Namespace", "the namespace", "vision"),
        )
    ],
    _ANY_BODY,
    security=True,
)
FEEDBACK = Route(
    "POST",
    "/feedback",
    "post_feedback",
    "Store a feedback on a request: its truth, or a reward",
    {202: _stored("the feedback is stored", matched=_MATCHED)} | _REFUSALS,
    [
        header(
            "Seldon-Puid",
            "the request's id; a body of the performance-metrics module has its own",
            "order-17",
        ),
        query(
            "deployment", "the deployment that made the prediction: must be given somewhere", "pets"
        ),
        query("namespace", "its namespace: must be given somewhere, and may be empty", "vision"),
        query("predictor", "its predictor, for a reward", "default"),
        query("model", "its node, for a reward", "classifier"),
    ],
    _FEEDBACK_BODY,
    security=True,
)

ROUTES = (EVENTS, FEEDBACK, DOCUMENT._replace(security=True))
