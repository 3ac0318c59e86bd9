"""Bodies that are protobuf messages: of Seldon, the Open Inference Protocol and TensorFlow.

The packages that carry these types (seldon-core, kserve, mlserver, tritonclient) bring web servers,
gRPC and numpy, and Seldon's is not free software since 1.18. So the few fields that count are
described here by the numbers of the public protocols, and Google's own library reads them: it skips
all others, checks text for UTF-8 and bounds depth.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import DecodeError

from processor.domain.events.attributes import FAILED
from processor.domain.events.payloads.columns import read_columns
from processor.domain.events.payloads.forms import Choice, read_forms
from processor.domain.events.payloads.inference import Output, read_outputs
from processor.domain.events.payloads.json_bodies import Judgement, micros
from processor.domain.events.payloads.rows import UNREADABLE, PayloadRows, checked, shaped
from processor.domain.events.payloads.tensors import (
    halves,
    tensor_proto,
)
from processor.domain.events.payloads.texts import text_of
from processor.domain.events.raw_event import DeadLetter, Uncounted

#: Message, then "number name type", with * where the field is repeated and | where it is one of
#: those that exclude each other. Order and numbers are the protocols'.
_MESSAGES = {
    "SeldonMessage": "1 status Status, 3 data DefaultData|, 4 bin_data bytes|, 5 str_data string|, "
    "6 json_data Value|, 7 custom_data bytes|",
    "Status": "4 status int32",
    "DefaultData": "1 names string*, 2 tensor Tensor|, 3 ndarray ListValue|, 4 tftensor TensorProto|",
    "Tensor": "1 shape int32*, 2 values double*",
    "Feedback": "3 reward float, 4 truth SeldonMessage",
    "TensorProto": "1 dtype int32, 2 tensor_shape TensorShape, 4 tensor_content bytes, "
    "5 float_val float*, 6 double_val double*, 7 int_val int32*, 8 string_val bytes*, "
    "10 int64_val int64*, 11 bool_val bool*, 13 half_val int32*, 16 uint32_val uint32*, "
    "17 uint64_val uint64*",
    "TensorShape": "2 dim Dimension*",
    "Dimension": "1 size int64",
    "ModelInferResponse": "3 id string, 4 parameters Parameter*, 5 outputs InferOutput*, "
    "6 raw_output_contents bytes*",
    "InferOutput": "1 name string, 2 datatype string, 3 shape int64*, 4 parameters Parameter*, "
    "5 contents InferContents",
    # An entry of a map is a message with a key and a value.
    "Parameter": "1 key string, 2 value ParameterValue",
    "ParameterValue": "3 string_param string",
    "InferContents": "1 bool_contents bool*, 2 int_contents int32*, 3 int64_contents int64*, "
    "4 uint_contents uint32*, 5 uint64_contents uint64*, 6 fp32_contents float*, "
    "7 fp64_contents double*, 8 bytes_contents bytes*",
    "PredictResponse": "1 outputs PredictOutput*",
    "PredictOutput": "1 key string, 2 value TensorProto",
}

#: The bytes of the frame around a message of gRPC.
_GRPC_FRAME = 5

_Field = descriptor_pb2.FieldDescriptorProto


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="feedback_metrics.proto",
        package="feedback_metrics",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, field, kind = text.split()
            added = message.field.add(name=field, number=int(number))
            added.label = _Field.LABEL_REPEATED if kind[-1] == "*" else _Field.LABEL_OPTIONAL
            if kind[-1] == "|":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="one")
                added.oneof_index = 0
            kind = kind.rstrip("*|")
            if kind[0].isupper():
                package = "feedback_metrics" if kind in _MESSAGES else "google.protobuf"
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"feedback_metrics.{name}")
        )
        for name in _MESSAGES
    }


#: The class of each message that is read.
MESSAGES = _classes()

#: The names of the Open Inference Protocol, and of TensorFlow's.
INFERENCE, _TENSORFLOW = frozenset({"v2", "kfserving", "open-inference"}), "tensorflow"
#: Seldon's status of a failure.
_FAILURE = 1


def unframed(body: bytes) -> bytes:
    """Return a message without the frame of gRPC (a flag and the length in four bytes), or without the
    header of a schema registry (a zero, the schema's id in four bytes and a zero). No message begins
    with a zero, so any other body is returned as it is.

    >>> unframed(bytes([0, 0, 0, 0, 2, 10, 0])), unframed(bytes([0, 0, 0, 0, 7, 0, 10, 0]))
    (b'\\n\\x00', b'\\n\\x00')
    """
    if body[:1] != b"\0":
        return body
    if int.from_bytes(body[1:5], "big") == len(body) - _GRPC_FRAME:
        return body[_GRPC_FRAME:]
    return body[_GRPC_FRAME + 1 :] if body[_GRPC_FRAME : _GRPC_FRAME + 1] == b"\0" else body


def read_response(
    body: bytes, protocol: str, choice: Choice | None
) -> PayloadRows | DeadLetter | Uncounted:
    """Rows of a response; ``protocol`` as the executor names them, Seldon's own where none is
    given."""
    if protocol in INFERENCE:
        message = _parse("ModelInferResponse", body)
        return message if isinstance(message, DeadLetter) else _inference(message, choice)
    if protocol == _TENSORFLOW:
        message = _parse("PredictResponse", body)
        return message if isinstance(message, DeadLetter) else _tensorflow(message, choice)
    message = _parse("SeldonMessage", body)
    if isinstance(message, DeadLetter):
        return message
    if message.status.status == _FAILURE:
        return Uncounted(FAILED)
    return _seldon(message, choice, False) or DeadLetter(
        "bad_shape", "the SeldonMessage has no data"
    )


def read_id(body: bytes) -> str | None:
    """Return the id of a response of the Open Inference Protocol, None if it has none."""
    message = _parse("ModelInferResponse", body)
    return None if isinstance(message, DeadLetter) else message.id or None


def read_feedback(body: bytes, choice: Choice | None) -> Judgement | DeadLetter:
    """Return the truth and the reward of a feedback, for which only Seldon has a message.

    Protobuf omits zero values: a missing reward is 0 without truth data, and none with truth data.
    """
    feedback = _parse("Feedback", body)
    if isinstance(feedback, DeadLetter):
        return feedback
    truth = _seldon(feedback.truth, choice, True) if feedback.HasField("truth") else None
    if isinstance(truth, DeadLetter):
        return truth
    reward = None
    if truth is None or feedback.reward:
        # As it was written before it was cut to 32 bits: 0.1, not 0.10000000149.
        reward = micros(float(f"{feedback.reward:.7g}"))
        if reward is None:
            return DeadLetter("bad_reward", f"reward {feedback.reward} is no number up to 1e6")
    return Judgement(truth, reward)


def _parse(name: str, body: bytes) -> Any:
    try:
        return MESSAGES[name].FromString(body)
    except (DecodeError, RecursionError):
        return DeadLetter("bad_shape", f"the body is no {name} of protobuf")


def _seldon(message: Any, choice: Choice | None, is_truth: bool) -> PayloadRows | DeadLetter | None:
    """Return the rows of a SeldonMessage, None if it has no data at all."""
    rows = _seldon_rows(message)
    if not isinstance(rows, PayloadRows):
        return rows
    return read_forms(rows.rows, choice, is_truth, list(rows.names or ()))


def _seldon_rows(message: Any) -> PayloadRows | DeadLetter | None:
    container = message.WhichOneof("one")
    if container == "str_data":
        return PayloadRows([message.str_data], None)
    if container == "json_data":
        value = _plain(message.json_data)
        return checked(value) if type(value) is list else PayloadRows([value], None)
    if container != "data":
        return None if container is None else PayloadRows([UNREADABLE], None)
    data = message.data
    names, container = list(data.names), data.WhichOneof("one")
    if container == "tensor":
        return shaped(list(data.tensor.shape), list(data.tensor.values), names)
    if container == "ndarray":
        return checked([_plain(value) for value in data.ndarray.values], names)
    return None if container is None else _tensor_proto(data.tftensor, names)


def _plain(value: Any) -> Any:
    """Return a ``Value`` as JSON has it; the keys of an object have no order, so they are sorted."""
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_plain(one) for one in value.list_value.values]
    if kind == "struct_value":
        return {key: _plain(one) for key, one in sorted(value.struct_value.fields.items())}
    return None if kind in (None, "null_value") else getattr(value, kind)


def _tensor_proto(tensor: Any, names: list[str] | None = None) -> PayloadRows | DeadLetter:
    # Without dimensions it is a scalar, which is one row.
    shape = [dim.size for dim in tensor.tensor_shape.dim] or [1]
    values: list[Any] = []
    for field, found in tensor.ListFields():
        if field.name.endswith("_val"):
            values = list(found)
            if field.name == "string_val":
                values = [text_of(text) for text in values]
            elif field.name == "half_val":
                values = [*map(halves(tensor.dtype), values)]
    return tensor_proto(tensor.dtype, shape, tensor.tensor_content, values, names)


def _inference(message: Any, choice: Choice | None) -> PayloadRows | DeadLetter:
    outputs, raw = message.outputs, message.raw_output_contents
    if not outputs:
        return DeadLetter("bad_shape", "the ModelInferResponse has no outputs")
    if raw and len(raw) != len(outputs):
        return DeadLetter("bad_shape", "raw_output_contents are not as many as outputs")
    content_type = _content_type(message)
    found = [
        Output(
            one.name,
            _datatype(one),
            list(one.shape),
            _content_type(one) or content_type,
            raw[position] if raw else _contents(one),
        )
        for position, one in enumerate(outputs)
    ]
    return read_outputs(found, choice)


def _datatype(output: Any) -> str:
    """Return the datatype of an output; without one its texts tell that they are texts."""
    named: str = output.datatype
    return named or ("BYTES" if output.contents.bytes_contents else "")


def _content_type(message: Any) -> str:
    return next(
        (one.value.string_param for one in message.parameters if one.key == "content_type"), ""
    )


def _contents(output: Any) -> list[Any]:
    for field, found in output.contents.ListFields():
        return [text_of(text) for text in found] if field.name == "bytes_contents" else list(found)
    return []


def _tensorflow(message: Any, choice: Choice | None) -> PayloadRows | DeadLetter:
    columns: dict[str, Any] = {}
    for one in message.outputs:
        rows = _tensor_proto(one.value)
        if isinstance(rows, DeadLetter):
            return rows
        columns[one.key] = rows.rows
    if not columns:
        return DeadLetter("bad_shape", "the PredictResponse has no outputs")
    return read_columns(columns, choice)
