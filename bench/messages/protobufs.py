"""Bodies that are protobuf messages, of Seldon and of the Open Inference Protocol."""

from functools import partial
from random import Random

from processor.domain.events.payloads.protobuf import MESSAGES

from . import kserve
from .kind import (
    PROTOBUF,
    EventContext,
    Headers,
    Judgement,
    Kind,
    Request,
    deployment,
    executor_headers,
)
from .seldon import name, reward, scores

_CLASSES = 3
_NAMES = [name(position) for position in range(_CLASSES)]


def _seldon_message(values: list[float]) -> object:
    message = MESSAGES["SeldonMessage"]()
    message.data.names.extend(_NAMES)
    message.data.tensor.shape.extend([1, _CLASSES])
    message.data.tensor.values.extend(values)
    return message


def _seldon_answer(request: Request) -> bytes:
    message = _seldon_message(scores(request.rows[0], _CLASSES))
    return bytes(message.SerializeToString())  # type: ignore[attr-defined]


def _seldon_feedback(request: Request, judgement: Judgement) -> bytes:
    one_hot = [float(position == judgement.actual[0]) for position in range(_CLASSES)]
    feedback = MESSAGES["Feedback"](reward=reward(request, judgement))
    feedback.truth.CopyFrom(_seldon_message(one_hot))
    return bytes(feedback.SerializeToString())


def _v2_answer(request: Request) -> bytes:
    response = MESSAGES["ModelInferResponse"](id=request.id.decode())
    output = response.outputs.add(name="predict_proba", datatype="FP64", shape=[1, _CLASSES])
    output.contents.fp64_contents.extend(scores(request.rows[0], _CLASSES))
    # Names the model, in a field that the processor does not describe.
    named = deployment(request.model).encode()
    return bytes([1 << 3 | 2, len(named)]) + named + bytes(response.SerializeToString())


def _tensorflow_answer(request: Request) -> bytes:
    response = MESSAGES["PredictResponse"]()
    tensor = response.outputs.add(key="scores").value
    tensor.dtype = 2
    for size in 1, _CLASSES:
        tensor.tensor_shape.dim.add(size=size)
    tensor.double_val.extend(scores(request.rows[0], _CLASSES))
    return bytes(response.SerializeToString())


def seldon() -> Kind:
    """A `SeldonMessage` with a tensor, and a `Feedback`."""
    headers = partial(executor_headers, content_type=PROTOBUF)
    return Kind("protobuf, Seldon", _seldon_answer, _seldon_feedback, headers=headers, label=name)


def v2() -> Kind:
    """A `ModelInferResponse`; feedback comes from elsewhere, so it is JSON."""
    headers = partial(kserve.logger_headers, content_type=PROTOBUF)
    return Kind("protobuf, v2", _v2_answer, kserve.truth, headers=headers)


def tensorflow() -> Kind:
    """A `PredictResponse`; feedback is JSON."""

    def headers(context: EventContext, rng: Random) -> Headers:
        return [*kserve.logger_headers(context, rng, PROTOBUF), ("ce_protocol", b"tensorflow")]

    return Kind("protobuf, TensorFlow", _tensorflow_answer, kserve.truth, headers=headers)
