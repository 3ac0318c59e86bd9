"""Blocks of lines of an events file to batches of observations, at speed.

A usual line (one row, as Seldon's executor sends it) says what an earlier line of the same model with
the same row said, but for its request and time; what that is, `Decoder` has decided. Every other line
goes to the `Decoder` itself.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import FEEDBACK, KINDS, REQUEST, RESPONSE
from processor.domain.events.common_case import FAULTS, MAX_TIME_NS, SHORT_ID, Data, Truth, reading
from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import BadLine, LineError, parse_line
from processor.domain.events.fast_decoder import UNLIMITED, FastDecoder
from processor.domain.events.raw_event import Batch, DeadLetter
from processor.domain.log.observations import (
    BatchBuilder,
    Feedback,
    FeedbackRow,
    ObservationBatch,
    Prediction,
    PredictionRow,
)
from processor.domain.native import use_native
from processor.domain.timestamps import TimeParser

#: A line without ``ce-time`` has no time at all.
NO_TIME = -1
#: Models and contents that are remembered; also what a batch's tables hold at most, about.
_STREAMS, _CONTENTS = 2000, 2000


class Lines(NamedTuple):
    """What a block of lines says; ``read`` counts the events, and the lines that are none."""

    batch: ObservationBatch
    bad: list[BadLine]
    read: int


_TYPES = frozenset(name.decode() for name in KINDS)
#: What decides what a line is about, beside its content type; and of which request, when.
_ABOUT = "ce-type", "ce-namespace", "ce-inferenceservicename", "ce-endpoint", "ce-modelid"
_about = itemgetter(*_ABOUT)
_NEEDED = {*_ABOUT, "ce-requestid", "ce-time"}
#: Headers that a usual line may have: the last two decide only where one of those above is empty.
_may_have = re.compile("ce-[a-z0-9]+|content-type|seldon-puid|traceparent").fullmatch


class _Body(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A response or a feedback with nothing in it but what is usual."""

    data: Data | None = None
    meta: msgspec.Raw = msgspec.Raw(b"")
    reward: bool | int | float | None = None
    truth: Truth | None = None


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    headers: dict[str, str]
    data: _Body


_decoder = msgspec.json.Decoder(_Line)

#: A line that is left: its place among the lines, its text, and how it parses if it is usual.
_LeftLine = tuple[int, bytes, _Line | None]

#: What the meaning of a usual line depends on beside its model: names and reading of a response's one
#: row; of a feedback these (None without truth data) and the reward.
_Content = tuple[object, ...]
#: Rows to make others like, of one model and type; None is a stream of requests, which are counted as
#: read and nothing else.
_Stream = dict[_Content, PredictionRow | FeedbackRow]
_StreamKey = tuple[str, str, str, str, str, str]
_NEW: _Stream = {}


class LineReader:
    """Reads blocks of lines; counts what it sees in the decoder's telemetry.

    What is later than ``as_of`` (ns) is read and left out of the batches.
    """

    def __init__(self, decoder: Decoder, as_of: int | None = None) -> None:
        self._decoder = decoder
        self._time = TimeParser()
        self._as_of = MAX_TIME_NS if as_of is None else as_of
        self._more = 0
        self._invalidate()

    def _invalidate(self) -> None:
        self._builder = BatchBuilder()
        self._streams: dict[_StreamKey, _Stream | None] = {}
        self._contents = 0

    def read(self, block: bytes, first: int) -> Lines:
        """``block`` is whole lines, ``first`` the number of its first line in the file."""
        bad: list[BadLine] = []
        empty = self._more = 0
        left, count = self._decode_common(block)
        for at, text, line in left:
            if not text or text.isspace():
                empty += 1
                continue
            letter = self._take(text, first + at, line)
            if letter is not None:
                bad.append(BadLine(first + at, letter))
        return Lines(self._build(), bad, count - empty + self._more)

    def _build(self) -> ObservationBatch:
        batch = self._builder.build("", keep_dictionaries=True)
        if self._contents > _CONTENTS or len(self._streams) > _STREAMS:
            self._invalidate()
        return batch

    def _decode_common(self, block: bytes) -> tuple[list[_LeftLine], int]:
        """Take the lines that read like earlier ones; all others, and how many lines there are."""
        lines = _parse(block)
        left = self._take_parsed(lines)
        texts = block.split(b"\n") if left else []
        return [(at, texts[at], lines[at]) for at in left], len(lines)

    def _take_parsed(self, lines: "Sequence[_Line | None]") -> list[int]:
        """Take the lines that read like earlier ones; the places of all others."""
        parse_time, streams, as_of = self._time, self._streams, self._as_of
        predictions, feedbacks = self._builder.predictions, self._builder.feedbacks
        others: list[int] = []
        requests = responses = judgements = 0
        for at, line in enumerate(lines):
            if line is None:
                others.append(at)
                continue
            headers = line.headers
            key = _stream_key(headers)
            stream = _NEW if key is None else streams.get(key, _NEW)
            if stream is None:
                requests += 1
                continue
            content = _content(line.data) if stream else None
            if content is None or content not in stream:
                others.append(at)
                continue
            row = stream[content]
            request_id = headers["ce-requestid"]
            time = parse_time(headers["ce-time"].encode())
            if time is None or not 0 < len(request_id) < SHORT_ID:
                others.append(at)
            elif type(row) is PredictionRow:
                responses += 1
                if time <= as_of:
                    predictions.append(
                        PredictionRow(
                            request_id,
                            row.model,
                            time,
                            row.source_rank,
                            row.digest,
                            row.answers,
                            row.provisional,
                        )
                    )
            elif type(row) is FeedbackRow:
                judgements += 1
                if time <= as_of:
                    feedbacks.append(
                        FeedbackRow(
                            request_id,
                            row.scope,
                            time,
                            row.source_rank,
                            row.digest,
                            row.truth,
                            row.reward,
                        )
                    )
        events = self._decoder.telemetry.events
        for kind, count in (REQUEST, requests), (RESPONSE, responses), (FEEDBACK, judgements):
            if count:
                events[kind] += count
        return others

    def _take(self, text: bytes, number: int, line: _Line | None) -> DeadLetter | None:
        """Take any line; the dead letter if it is no event at all."""
        telemetry = self._decoder.telemetry
        requests, scorable = telemetry.events[REQUEST], telemetry.not_scorable.total()
        try:
            event = parse_line(text, number, NO_TIME)
        except LineError as error:
            return self._decoder.dead(DeadLetter(error.reason, str(error)))
        said = self._decoder.decode(*event)
        if isinstance(said, Batch):
            self._take_batch(said)
            return None
        if isinstance(said, Prediction | Feedback):
            builder = self._builder
            rows: Sequence[PredictionRow | FeedbackRow]
            rows = builder.predictions if isinstance(said, Prediction) else builder.feedbacks
            builder.add(said)
            # Items without a label are counted one by one.
            if telemetry.not_scorable.total() == scorable:
                self._remember(text, line, rows[-1], said)
            if said.time > self._as_of:
                rows.pop()
        elif telemetry.events[REQUEST] > requests and line is not None:
            key = _stream_key(line.headers)
            if key is not None:
                self._streams[key] = None
        return None

    def _take_batch(self, batch: Batch) -> None:
        """Take the events of one that holds several; each counts as read."""
        self._more += len(batch.events) - 1
        for event in batch.events:
            said = self._decoder.decode(*event)
            if isinstance(said, Prediction | Feedback) and said.time <= self._as_of:
                self._builder.add(said)

    def _remember(
        self,
        text: bytes,
        line: _Line | None,
        row: PredictionRow | FeedbackRow,
        said: Prediction | Feedback,
    ) -> None:
        """Take lines like this one like it from now on."""
        key = None if line is None else _stream_key(line.headers)
        content = None if line is None else _content(line.data)
        if key is None or content is None:
            return
        stream = self._streams.setdefault(key, {})
        if stream is not None:
            stream[content] = row
            self._contents += 1


class NativeLineReader(LineReader):
    """The same, compiled."""

    def _invalidate(self) -> None:
        super()._invalidate()
        self._fast_decoder = FastDecoder(
            self._decoder, [self._builder], UNLIMITED, UNLIMITED, lambda _: None, self._as_of
        )

    def _decode_common(self, block: bytes) -> tuple[list[_LeftLine], int]:
        left, count = self._fast_decoder.decode_lines(block)
        return [(at, text, None) for at, text in left], count

    def _remember(
        self,
        text: bytes,
        line: _Line | None,
        row: PredictionRow | FeedbackRow,
        said: Prediction | Feedback,
    ) -> None:
        self._fast_decoder.add_line_template(text, said)
        self._contents += 1

    def _build(self) -> ObservationBatch:
        self._fast_decoder.flush_rows(0, keep_dictionaries=True)
        batch = self._builder.build("", keep_dictionaries=True)
        if self._contents > _CONTENTS:
            self._invalidate()
        return batch


def line_reader(decoder: Decoder, as_of: int | None = None) -> LineReader:
    """The fastest reader there is."""
    return (NativeLineReader if use_native else LineReader)(decoder, as_of)


def _stream_key(headers: dict[str, str]) -> _StreamKey | None:
    """None for headers that are not usual."""
    if not _are_common(tuple(headers)):
        return None
    kind, namespace, deployment, predictor, model = _about(headers)
    if kind not in _TYPES or not deployment or not model:
        return None
    return kind, namespace, deployment, predictor, model, headers.get("content-type", "")


@lru_cache(1000)
def _are_common(names: tuple[str, ...]) -> bool:
    return _NEEDED.issubset(names) and all(map(_may_have, names))


def _content(body: _Body) -> _Content | None:
    """None for one that is not usual after all."""
    data, truth = body.data, body.truth
    if truth is None:
        if data is None:
            return (None, None, body.reward)
        if body.reward is not None or len(data.ndarray) != 1:
            return None
        return (data.names, reading(data.ndarray[0]))
    if data is not None:
        return None
    data = truth.data
    if data is None:
        return (None, None, body.reward)
    if len(data.ndarray) != 1:
        return None
    return (data.names, reading(data.ndarray[0]), body.reward)


def _parse(block: bytes) -> Sequence[_Line | None]:
    """The usual lines parsed, None in the place of others."""
    count = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        if not block.isascii():
            block.decode()  # the parser does not look into what it skips
        lines = _decoder.decode_lines(block)
        if len(lines) == count:
            return lines
    except FAULTS:
        pass
    texts = block.split(b"\n")
    return [_parse_one(text) for text in texts[:count]]


def _parse_one(text: bytes) -> _Line | None:
    try:
        if not text.isascii():
            text.decode()
        return _decoder.decode(text)
    except FAULTS:
        return None
