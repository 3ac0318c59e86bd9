"""One event decoded: the observation, the labels or the reason of the dead letter that a body gives."""

from __future__ import annotations

import json
from typing import Any

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import REASONS, DeadLetter
from processor.domain.log.observations import Prediction
from processor.domain.model_rules import parse_rules
from processor.domain.timestamps import parse_time
from processor.telemetry import Telemetry
from tests.support.domain.decoding import Part, meaning, shown

RESPONSE, FEEDBACK = "io.seldon.serving.inference.response", "io.seldon.serving.feedback"

NOW = parse_time("2026-11-20T09:00:00Z") or 0

COMMON = {
    "ce_type": RESPONSE,
    "ce_id": "event-1",
    "ce_requestid": "r-1",
    "ce_time": "2026-11-20T09:00:00Z",
    "ce_namespace": "seldon",
    "ce_inferenceservicename": "iris",
    "ce_endpoint": "default",
    "ce_modelid": "classifier",
    "content-type": "application/json",
}

ROW = {"data": {"names": ["a", "b"], "ndarray": [[0.1, 0.9]]}}


def headers(change: dict[str, Any], **more: Any) -> list[tuple[str, bytes]]:
    """The common ones, changed; None leaves one out."""
    texts = {**COMMON, **change, **more}
    return [
        (name, text if isinstance(text, bytes) else text.encode())
        for name, text in texts.items()
        if text is not None
    ]


def see(body: object = ROW, timestamp: int = -1, file: Any = None, **change: Any) -> Part | None:
    """One event decoded, twice: what is remembered must not change a thing."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    decoder = Decoder(parse_rules(file, "file"), Telemetry())
    decoder.decode(headers({}), json.dumps(ROW).encode(), -1)
    first = decoder.decode(headers(change), value, timestamp)
    assert decoder.decode(headers(change), value, timestamp) == first
    assert (
        Decoder(parse_rules(file, "file"), Telemetry()).decode(headers(change), value, timestamp)
        == first
    )
    return meaning(first)


def label(body: object, **change: Any) -> str:
    """The labels of a response, or why there is none."""
    seen = see(body, **change)
    if isinstance(seen, DeadLetter):
        return f"!{seen.reason}"
    assert isinstance(seen, Prediction)
    return " ".join(map(shown, seen.answers))


def reason(body: object = ROW, timestamp: int = -1, **change: Any) -> str:
    seen = see(body, timestamp, **change)
    assert isinstance(seen, DeadLetter), seen
    assert seen.detail
    assert seen.reason in REASONS
    return seen.reason
