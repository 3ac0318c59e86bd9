"""Events as Seldon and KServe send them, and short ways to fold and decode them."""

import json
from collections.abc import Iterable
from typing import Any

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import parse_rules
from processor.domain.timestamps import parse_time
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.support.domain.decoding import meaning

RESPONSE, FEEDBACK = "io.seldon.serving.inference.response", "io.seldon.serving.feedback"
NS = parse_time("2026-11-20T09:00:00Z") or 0


def event(kind: str, body: object, **change: str | bytes | None) -> RawEvent:
    """An event of Seldon's executor in binary mode; ``change`` replaces attributes, None omits one."""
    texts: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": "e-1",
        "ce_source": "http://:8000/",
        "ce_type": kind,
        "ce_time": "2026-11-20T09:00:00Z",
        "ce_requestid": "r-1",
        "ce_modelid": "classifier",
        "ce_inferenceservicename": "iris",
        "ce_namespace": "seldon",
        "ce_endpoint": "default",
        "content-type": "application/json",
        **change,
    }
    headers = [
        (name, text.encode() if isinstance(text, str) else text)
        for name, text in texts.items()
        if text is not None
    ]
    value = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return RawEvent(headers, value, NS)


def kserve(kind: str, body: object, **change: str | None) -> RawEvent:
    """An event of KServe: no requestid, no modelid, one id for request and response."""
    own = {
        "ce_id": "k-1",
        "ce_requestid": None,
        "ce_modelid": None,
        "ce_component": "predictor",
        "ce_metadata": "{}",
        "ce_recordedtime": "2026-11-20T09:00:00.1Z",
    }
    return event(f"org.kubeflow.serving.{kind}", body, **{**own, **change})


def fold(events: Iterable[RawEvent], file: object = None) -> Any:
    """The results of some events under a models file."""
    folded = ReplayFold(parse_rules(file, "models.yaml"), Selection())
    folded.add(events)
    return folded.result()


def only(events: Iterable[RawEvent], file: object = None) -> Any:
    """The result of the only model of some events."""
    (model,) = fold(events, file).models
    return model


def decode(raw: RawEvent) -> Any:
    """The only observation or dead letter of one event; None if it means nothing."""
    return meaning(Decoder(parse_rules(None, ""), Telemetry()).decode(*raw))
