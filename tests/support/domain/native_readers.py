"""Readers of Kafka records with and without the native extension, and what they must have in common."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from bench.support.stage_costs import whole
from processor.domain.events.decoder import Decoder
from processor.domain.log.records import decode_observation
from processor.domain.model_rules import ModelRules, parse_rules
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry
from tests.support.domain.batch_rows import KeepingProducer, rows_of
from tests.support.domain.envelope_kinds import NS

#: The headers and the body of an event.
Event = tuple[list[tuple[str, bytes]], bytes | None]
#: Events that are read at once.
_PART = 500


def record(offset: int, event: Event) -> ConsumerRecord:
    return ConsumerRecord(
        "source", 0, offset, NS // 1_000_000, 0, None, event[1], None, 0, 0, tuple(event[0])
    )


class Reader:
    """Reads events as a worker does. ``decoded`` are the events that Python has decoded."""

    def __init__(self, rules: ModelRules) -> None:
        self.producer, self.telemetry = KeepingProducer(), Telemetry()
        self.decoder = Decoder(rules, self.telemetry)
        self._observations = ObservationProducer(
            self.decoder,
            self.producer,
            "observations",
            "letters",
            3,
            "log",
        )
        self.decoded: list[bytes | None] = []
        decode = self.decoder.decode

        def count(headers: Any, value: bytes | None, timestamp: int) -> Any:
            self.decoded.append(value)
            return decode(headers, value, timestamp)

        self.decoder.decode = count  # type: ignore[method-assign]

    def read(self, records: Sequence[ConsumerRecord]) -> tuple[Counter[object], list[object]]:
        """The rows of some records, and the dead letters."""
        if self._observations._fast_decoder is None:
            self._observations.add_records("source", 0, records)
        else:
            self._observations.add_batch("source", 0, whole(records))
        asyncio.run(self._send())
        rows: Counter[object] = Counter()
        letters: list[object] = []
        for topic, value, more in self.producer.sent:
            if topic == "letters":
                letters.append((value, tuple(more["headers"])))
            else:
                rows.update(rows_of(decode_observation(value or b""), more["partition"]))
        self.producer.sent.clear()
        return rows, sorted(letters, key=repr)

    async def _send(self) -> None:
        await self._observations.send()


def readers(rules: object, monkeypatch: pytest.MonkeyPatch) -> tuple[Reader, Reader]:
    """A native reader and one in Python."""
    found = Reader(parse_rules(rules, "file"))
    with monkeypatch.context() as patch:
        patch.setattr("processor.stream.observation_producer.use_native", False)
        return found, Reader(parse_rules(rules, "file"))


def assert_alike(
    fast: Reader,
    slow: Reader,
    events: Iterator[Event],
    count: int,
    after: Callable[[int], None] = lambda start: None,
) -> None:
    """Both readers give the same rows, dead letters and telemetry for so many events; ``after`` is
    called with the number of the first event of each part that was read."""
    for start in range(0, count, _PART):
        part = [record(start + at, next(events)) for at in range(_PART)]
        (rows, letters), (expected, expected_letters) = fast.read(part), slow.read(part)
        assert rows - expected == expected - rows == Counter()
        assert letters == expected_letters
        after(start)
    for name in ("events", "not_scorable", "future_times", "says_nothing", "dead_letters"):
        assert getattr(fast.telemetry, name) == getattr(slow.telemetry, name), name
