"""Protobuf bodies in the frame of gRPC, and behind the header of a schema registry."""

import struct
from base64 import b64encode

import pytest

from processor import evaluate
from tests.support.events.model_events import feedback, response

# An answer of the Open Inference Protocol: output "p", FP32 of shape [1, 2], 0.25 and 0.75.
MESSAGE = bytes.fromhex(
    "0a07636875726e5f332a0d0a017012044650333" + "21a0201023208" + "0000803e0000403f"
)
GRPC = b"\0" + struct.pack(">I", len(MESSAGE)) + MESSAGE
REGISTRY = b"\0" + struct.pack(">I", 7) + b"\0" + MESSAGE


@pytest.mark.parametrize("content_type", ["application/grpc", "application/protobuf"])
@pytest.mark.parametrize("body", [MESSAGE, GRPC, REGISTRY])
def test_the_message_in_a_frame_is_read(body: bytes, content_type: str) -> None:
    event = response("r", None, 0, **{"ce-protocol": "v2", "content-type": content_type})
    del event["data"]
    event["data_base64"] = b64encode(body).decode()
    (model,) = evaluate([event, feedback("r", {"truth": 1})], models={"models": []}).models
    assert (model.predictions, model.correct) == (1, 1)


@pytest.mark.parametrize("body", [GRPC[:-1], b"\0", b"\0\0\0\0\0", REGISTRY[:6]])
def test_a_damaged_frame_is_a_dead_letter(body: bytes) -> None:
    event = response("r", None, 0, **{"ce-protocol": "v2", "content-type": "application/grpc"})
    del event["data"]
    event["data_base64"] = b64encode(body).decode()
    events = evaluate([event], models={"models": []}).events
    assert sum(events.dead_letters.values()) == 1
