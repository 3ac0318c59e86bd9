"""One payload of each kind that models send, with the expected labels."""

import struct
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).resolve().parents[2] / "data" / "payloads"
JSON, PROTOBUF = "application/json", "application/protobuf"


class Payload(NamedTuple):
    """A body with the expected label of each row, or ``!`` and the reason why it has none."""

    body: bytes
    labels: str
    content_type: str = JSON
    protocol: str = "seldon"


def _file(name: str) -> bytes:
    return (DATA / name).read_bytes()


_BINARY = struct.pack("<6e", 0.25, 0.75, 0.75, 0.25, 0.5, 0.25)
_TFTENSOR = _file("seldon-tftensor.pb")[-26:]  # the TensorProto within


def _nested(tag: int, content: bytes) -> bytes:
    """Return a protobuf field that holds bytes."""
    return bytes([tag << 3 | 2, len(content)]) + content


PAYLOADS = {
    "ndarray": Payload(_file("seldon-ndarray.json"), "t:2"),
    "ndarray of text": Payload(_file("seldon-ndarray-text.json"), "this is a terrible comment"),
    "ndarray mixed": Payload(b'{"data":{"ndarray":["cat",2,0.7,[0.1,0.9]]}}', "cat 2 1 1"),
    "ndarray multi-label": Payload(b'{"data":{"ndarray":[[1,0,1],[0,1,0]]}}', "!multi_label 1"),
    "tensor": Payload(_file("seldon-tensor.json"), "b b"),
    "tftensor": Payload(
        b'{"data":{"names":["a","b","c"],"tftensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":'
        b'[{"size":"1"},{"size":"3"}]},"floatVal":[0.1,0.7,0.2]}}}',
        "b",
    ),
    "tftensor packed": Payload(
        b'{"data":{"tftensor":{"dtype":2,"tensor_shape":{"dim":[{"size":2}]},'
        b'"tensor_content":"AAAAAAAA8D8AAAAAAAAAAA=="}}}',
        "1 0",
    ),
    "strData": Payload(_file("seldon-strdata.json"), "some test input"),
    "jsonData": Payload(_file("seldon-jsondata.json"), "!shape"),
    "jsonData list": Payload(b'{"jsonData":[[0.1,0.9],[0.8,0.2]]}', "1 0"),
    "binData": Payload(b'{"binData":"AAEC"}', "!shape"),
    "tensorflow": Payload(b'{"predictions":[[0.1,0.9],[0.8,0.2]]}', "1 0", protocol="tensorflow"),
    "tensorflow regression": Payload(
        _file("tensorflow-half-plus-two.json"), "<number> 3 <number>", protocol="tensorflow"
    ),
    "tensorflow columns": Payload(
        b'{"outputs":{"class":["cat","dog"],"p":[0.9,0.8]}}', "cat dog", protocol="tensorflow"
    ),
    "inference": Payload(_file("inference-fp32.json"), "1 1 1", protocol="v2"),
    "inference nested": Payload(
        b'{"model_name":"m","id":"1","outputs":[{"name":"o","datatype":"FP32","shape":[2,2],'
        b'"data":[[0.1,0.9],[0.8,0.2]]}]}',
        "1 0",
        protocol="v2",
    ),
    "inference several": Payload(
        b'{"outputs":[{"name":"predict","datatype":"INT64","shape":[2],"data":[2,0]},'
        b'{"name":"proba","datatype":"FP64","shape":[2,3],"data":[0.1,0.2,0.7,0.7,0.2,0.1]}]}',
        "2 0",
        protocol="v2",
    ),
    "inference BYTES": Payload(
        b'{"outputs":[{"name":"o","datatype":"BYTES","shape":[2,1],"data":["cat","dog"]}]}',
        "cat dog",
        protocol="v2",
    ),
    "inference BOOL": Payload(
        b'{"outputs":[{"name":"o","datatype":"BOOL","shape":[2],"data":[true,false]}]}',
        "1 0",
        protocol="v2",
    ),
    "inference binary": Payload(
        _file("inference-binary.json").rstrip() + _BINARY, "1 0 0", "application/octet-stream", "v2"
    ),
    "protobuf tensor": Payload(_file("seldon-tensor.pb"), "t:2 t:0", PROTOBUF),
    "protobuf ndarray": Payload(_file("seldon-ndarray.pb"), "b", PROTOBUF),
    "protobuf ndarray of text": Payload(_file("seldon-ndarray-text.pb"), "cat dog", PROTOBUF),
    "protobuf tftensor": Payload(_file("seldon-tftensor.pb"), "1", PROTOBUF),
    "protobuf tftensor packed": Payload(_file("seldon-tftensor-content.pb"), "1 0", PROTOBUF),
    "protobuf strData": Payload(_file("seldon-strdata.pb"), "cat", PROTOBUF),
    "protobuf binData": Payload(_file("seldon-bindata.pb"), "!shape", PROTOBUF),
    "protobuf jsonData": Payload(_file("seldon-jsondata.pb"), "2", PROTOBUF),
    "protobuf jsonData object": Payload(_file("seldon-jsondata-object.pb"), "cat", PROTOBUF),
    "protobuf inference": Payload(_file("inference-int64.pb"), "1 2", PROTOBUF, "v2"),
    "protobuf inference BYTES": Payload(_file("inference-bytes.pb"), "cat dog", PROTOBUF, "v2"),
    "protobuf inference raw": Payload(_file("inference-raw.pb"), "2", PROTOBUF, "v2"),
    "protobuf tensorflow": Payload(
        _nested(1, _nested(1, b"scores") + _nested(2, _TFTENSOR)), "1", PROTOBUF, "tensorflow"
    ),
}
