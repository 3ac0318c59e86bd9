"""Events of one model, as dicts that `evaluate` takes."""

from typing import Any

from processor.domain.timestamps import MINUTE, format_time

_DAY = 20_000 * 24 * 60 * MINUTE
Event = dict[str, Any]


def response(request_id: str, body: Any, minute: int = 0, **headers: str) -> Event:
    """Return a prediction. Headers are named with underscores in place of dashes."""
    return _event("inference.response", request_id, body, minute, headers)


def feedback(request_id: str, body: Any, minute: int = 1, **headers: str) -> Event:
    """Return a feedback."""
    return _event("feedback", request_id, body, minute, headers)


def _event(kind: str, request_id: str, body: Any, minute: int, headers: dict[str, str]) -> Event:
    common = {
        "ce-type": f"io.seldon.serving.{kind}",
        "ce-requestid": request_id,
        "ce-time": format_time(_DAY + minute * MINUTE),
        "ce-inferenceservicename": "model",
        "ce-namespace": "space",
        "ce-endpoint": "default",
        "ce-modelid": "node",
        "content-type": "application/json",
    }
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"headers": common | own, "data": body}
