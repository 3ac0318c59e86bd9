"""Many events, each broken in its own way: none breaks the decoder."""

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.events.payloads.rows import MAX_ROWS
from processor.domain.events.raw_event import REASONS, RawEvent
from processor.domain.log.observations import BatchBuilder, Feedback, ObservationBatch, Prediction
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_rules import parse_rules
from processor.telemetry import Telemetry
from tests.support.domain.envelope_kinds import ENVELOPES, RESPONSE
from tests.support.domain.payload_kinds import Payload
from tests.support.events.recorded import damaged, seeds

#: How many events are broken in every run of the tests, and with `--full` (`make chaos`).
EVENTS, ALL_EVENTS = 40_000, 200_000
SEED = 20261120
#: One in this many is decoded by a new decoder too: an odd number, so that both rules have their turn.
_AFRESH = 5
#: CPU seconds for one event: a hundred times what the worst of them takes, and nothing like what a
#: step that grows with the square of the input would take.
BOUND = 2.0


def events(count: int) -> Iterator[RawEvent]:
    """The same events each time."""
    many = Payload(b'{"data":{"ndarray":[%s1]}}' % (b"1," * MAX_ROWS), "")
    originals = seeds() + [make(many, RESPONSE) for make in ENVELOPES]
    return damaged(random.Random(SEED), originals, count)


class _Reader:
    """Decodes, and looks at what comes out."""

    def __init__(self) -> None:
        file = {
            "models": [
                {"match": "*/*/canary", "exclude": True},
                {"match": "*/*", "output_name": "proba", "labels": {"0": "no", "cat": "dog"}},
            ]
        }
        self.rules = [parse_rules(content, "file") for content in (None, file)]
        self.decoders = [Decoder(rules, Telemetry()).decode for rules in self.rules]
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0
        self._builder = BatchBuilder()

    def read(self, number: int, event: RawEvent) -> None:
        begin = time.thread_time()
        decoded = self.decoders[number % len(self.decoders)](*event)
        self.slowest = max(self.slowest, time.thread_time() - begin)
        names = [name for name, _ in event.headers]
        if number % _AFRESH == 0 and len(set(names)) == len(names):
            # What was read before changes nothing. (Of a header that stands twice any may count.)
            afresh = Decoder(self.rules[number % len(self.decoders)], Telemetry())
            assert afresh.decode(*event) == decoded
        if decoded.events > 1:
            self.seen["batch"] += 1
        for _, letter in decoded.dead_letters:
            assert letter.detail
            assert not letter.detail.endswith(" while decoding"), letter  # a defect
            self.seen[letter.reason] += 1
        if not decoded.observations and not decoded.dead_letters:
            self.seen["nothing"] += 1
        for observation in decoded.observations:
            assert isinstance(observation, Prediction | Feedback)
            self.seen[type(observation).__name__] += 1
            self._builder.add(observation)
            if self._builder.rows > 5000:
                self.pack()

    def pack(self) -> None:
        """What was read fits on the log, and comes back as it was."""
        batch = self._builder.build("epoch")
        packed = encode(batch)
        record = decode_observation(packed)
        assert isinstance(record, ObservationBatch)
        assert encode(record) == packed


def test_broken_events(request: pytest.FixtureRequest) -> None:
    """Each is an observation, nothing to keep, or a dead letter with a known reason."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    reader = _Reader()
    for number, event in enumerate(events(count)):
        try:
            reader.read(number, event)
        except Exception as error:
            raise AssertionError(f"event {number} {event!r:.3000}") from error
    reader.pack()
    assert reader.seen.total() >= count
    kinds = {"Prediction", "Feedback", "nothing", "batch"}
    # Nothing else comes out, and each of these does: the fuzz gets everywhere.
    assert set(reader.seen) == kinds | set(REASONS)
    assert reader.slowest < BOUND
