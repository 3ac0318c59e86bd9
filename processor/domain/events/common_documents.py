"""The common case of the request logger's documents: a response of one row, and at most one feedback.

Two such documents with equal keys mean the same, but for their request and times.
"""

from typing import Any

import msgspec

from processor.domain.events.common_case import FAULTS, SHORT_ID, Data, Truth, row_key


class _Meta(msgspec.Struct, gc=False):
    path: dict[str, msgspec.Raw] | None = msgspec.field(name="requestPath", default=None)


class _Payload(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    data: Data
    meta: _Meta | None = None


class _Response(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="ce-time")
    payload: _Payload


class _Feedback(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="ce-time")
    reward: bool | int | float | None = None
    truth: Truth | None = None


class CommonDocument(msgspec.Struct, gc=False):
    """The members of a document that count (`SOURCE_FIELDS`); others are skipped."""

    request_id: str = msgspec.field(name="RequestId")
    namespace: str = msgspec.field(name="Ce-Namespace")
    deployment: str = msgspec.field(name="Ce-Inferenceservicename")
    predictor: str = msgspec.field(name="Ce-Endpoint")
    model: str = msgspec.field(name="Ce-Modelid")
    response: _Response
    timestamp: Any = msgspec.field(name="@timestamp", default=None)
    request: msgspec.Raw = msgspec.Raw(b"")
    feedback: _Feedback | None = None


_decode = msgspec.json.Decoder(CommonDocument).decode

#: The names of the model, with the only node of the request path, then the content.
Key = tuple[object, ...]


def read_common(name: str, text: bytes) -> CommonDocument | None:
    """Parse a document with the id ``name`` as a common one, which is not an item of a batch; None for
    any other document."""
    try:
        if not text.isascii():
            text.decode()  # the parser does not check the text that it skips
        source = _decode(text)
    except FAULTS:
        return None
    common = (
        source.request_id == name
        and 0 < len(name) < SHORT_ID
        and len(source.response.payload.data.ndarray) == 1
    )
    return source if common else None


def _model_key(source: CommonDocument) -> Key:
    meta = source.response.payload.meta
    path = None if meta is None else meta.path
    node = next(iter(path)) if path is not None and len(path) == 1 else None
    return (source.namespace, source.deployment, source.predictor, source.model, node)


def prediction_key(source: CommonDocument) -> Key:
    """Return a key that is equal for documents whose responses mean the same."""
    data = source.response.payload.data
    return (*_model_key(source), data.names, row_key(data.ndarray[0]))


def feedback_key(source: CommonDocument, feedback: _Feedback) -> Key | None:
    """Return a key that is equal for documents whose feedbacks mean the same; None for several rows."""
    data = None if feedback.truth is None else feedback.truth.data
    if data is None:
        return (*_model_key(source), None, None, feedback.reward)
    if len(data.ndarray) != 1:
        return None
    return (*_model_key(source), data.names, row_key(data.ndarray[0]), feedback.reward)
