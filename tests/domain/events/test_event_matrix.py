"""Every kind of payload in every kind of envelope: the same observation."""

import pytest

from processor.domain.join.judge import judge
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_key import ModelKey
from tests.support.domain.decoding import shown
from tests.support.domain.envelope_kinds import ENVELOPES, FEEDBACK, RESPONSE, Envelope, binary
from tests.support.domain.payload_kinds import PAYLOADS, Payload
from tests.support.events.twice_decoded import decode


@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", PAYLOADS)
def test_responses(kind: str, envelope: Envelope) -> None:
    """The same prediction, to the last bit, whatever way it came."""
    payload = PAYLOADS[kind]
    said = decode(envelope(payload, RESPONSE))
    assert isinstance(said, Prediction), said
    assert said.model == ModelKey("seldon", "iris", "default", "classifier")
    assert said.request_id == "r-1"
    assert " ".join(map(shown, said.answers)) == payload.labels
    assert said == decode(binary(payload, RESPONSE))


_TRUTHS = {
    "reward": b'{"reward":1}',
    "reward 0": b'{"reward":0.0}',
    **{
        kind: b'{"reward":true,"truth":%s}' % PAYLOADS[kind].body
        for kind in (
            "ndarray",
            "ndarray mixed",
            "tensor",
            "tftensor",
            "strData",
            "jsonData list",
            "binData",
            "tensorflow",
            "tensorflow columns",
            "inference",
            "inference nested",
            "inference several",
            "inference BYTES",
        )
    },
}


@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("kind", _TRUTHS)
def test_feedback(kind: str, envelope: Envelope) -> None:
    """Truth in the bodies of any protocol."""
    payload = Payload(_TRUTHS[kind], "")
    said = decode(envelope(payload, FEEDBACK))
    assert isinstance(said, Feedback), said
    assert said.reward == (0 if kind == "reward 0" else 1_000_000)
    assert said == decode(binary(payload, FEEDBACK))
    if kind in PAYLOADS:
        # Every row that has a label is right about itself.
        itself = decode(binary(PAYLOADS[kind], RESPONSE))
        assert isinstance(itself, Prediction)
        counts = judge(itself.answers, said.truth, said.reward).counts
        scorable = [label for label in PAYLOADS[kind].labels.split() if label[0] not in "!<"]
        rows = 1 if " " in (itself.answers[0].label or "") else len(scorable)
        assert (counts.judged, counts.correct) == (rows, rows)
