"""The Open Inference Protocol (v2), and events as KServe's logger posts them."""

import struct
from collections.abc import Sequence
from random import Random

from .kind import (
    JSON,
    NAMESPACE,
    EventContext,
    Headers,
    Judgement,
    Kind,
    Request,
    deployment,
    rfc3339,
    uuid,
)
from .seldon import reward, scores

_QUESTION = (
    b'{"inputs":[{"name":"input-0","datatype":"FP32","shape":[1,4],"data":[6.7,3.0,5.2,2.3]}]}'
)


def logger_headers(context: EventContext, rng: Random, content_type: bytes = JSON) -> Headers:
    """The headers of KServe's logger after Knative's broker, whose id is that of the request. KServe
    knows no feedback: the application sends it as an event of its own."""
    part, request, _, time_ns = context
    common: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_time", rfc3339(time_ns)),
        ("ce_namespace", NAMESPACE.encode()),
        ("ce_inferenceservicename", deployment(request.model).encode()),
    ]
    if part == "feedback":
        return [
            *common,
            ("ce_type", b"io.seldon.serving.feedback"),
            ("ce_source", b"http://shop/"),
            ("ce_id", uuid(rng)),
            ("ce_requestid", request.id),
            ("content-type", JSON),
        ]
    return [
        *common,
        ("ce_type", f"org.kubeflow.serving.inference.{part}".encode()),
        ("ce_source", b"http://localhost:9081/"),
        ("ce_id", request.id),
        ("ce_component", b"predictor"),
        ("ce_endpoint", b""),
        (
            "ce_traceparent",
            f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-00".encode(),
        ),
        ("content-type", content_type if part == "response" else JSON),
    ]


def score_answer(request: Request) -> bytes:
    """Rows of three probabilities in one output."""
    values = [value for row in request.rows for value in scores(row, 3)]
    return (
        f'{{"model_name":"{deployment(request.model)}","model_version":"1",'
        f'"id":"{request.id.decode()}","parameters":{{}},"outputs":[{{"name":"predict_proba",'
        f'"shape":[{len(request.rows)},3],"datatype":"FP64",'
        f'"data":[{",".join(map(repr, values))}]}}]}}'
    ).encode()


def integer_answer(request: Request) -> bytes:
    """A class a row, by its position, in one output."""
    return (
        f'{{"model_name":"{deployment(request.model)}","id":"{request.id.decode()}",'
        f'"outputs":[{_integers(request.predicted)}]}}'
    ).encode()


def binary_answer(request: Request) -> bytes:
    """Rows of three probabilities in one output, whose values follow the JSON."""
    values = [value for row in request.rows for value in scores(row, 3)]
    packed = struct.pack(f"<{len(values)}d", *values)
    head = (
        f'{{"model_name":"{deployment(request.model)}","outputs":[{{"name":"predict_proba",'
        f'"datatype":"FP64","shape":[{len(request.rows)},3],'
        f'"parameters":{{"binary_data_size":{len(packed)}}}}}]}}'
    )
    return head.encode() + packed


def truth(request: Request, judgement: Judgement) -> bytes:
    """Feedback with the truth as an output, and the share of right rows as the reward."""
    said = f'"truth":{{"outputs":[{_integers(judgement.actual)}]}}'
    return f'{{"reward":{reward(request, judgement)!r},{said}}}'.encode()


def _integers(classes: Sequence[int]) -> str:
    data = ",".join(map(str, classes))
    return f'{{"name":"predict","shape":[{len(classes)}],"datatype":"INT64","data":[{data}]}}'


def question(_: Request) -> bytes:
    """A request for an answer."""
    return _QUESTION


def scores_with_requests() -> Kind:
    """Probabilities by KServe, with the events of requests."""
    return Kind(
        "v2 (KServe), with request events", score_answer, truth, question, logger_headers
    )  # fmt: skip
