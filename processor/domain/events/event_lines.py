"""Blocks of lines of an events file to batches of observations, on a fast path.

A common line (one row, as Seldon's executor sends it) gets the row of an earlier line, its template,
of the same model with the same content, but for its request and time. The `Decoder` has decided what
the template means, and decodes every other line.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import FEEDBACK, KINDS, REQUEST, RESPONSE
from processor.domain.events.common_case import FAULTS, MAX_TIME_NS, SHORT_ID, Data, Truth, row_key
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.events_file import BadLine, LineError, parse_line
from processor.domain.events.fast_decoder import UNLIMITED, FastDecoder
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import (
    BatchBuilder,
    FeedbackRow,
    ObservationBatch,
    Prediction,
    PredictionRow,
)
from processor.domain.native import use_native
from processor.domain.timestamps import TimeParser

#: The timestamp of a line's record: a line without ``ce-time`` has no time at all.
NO_TIME = -1
#: The most models and contents that are remembered; about this many entries are in a batch's
#: dictionaries.
_MAX_STREAMS, _MAX_CONTENTS = 2000, 2000


class Lines(NamedTuple):
    """The observations of a block of lines, and its lines that are not events; ``read`` is the number
    of events and such lines."""

    batch: ObservationBatch
    bad: list[BadLine]
    read: int


_TYPES = frozenset(name.decode() for name in KINDS)
#: The headers that decide, with the content type, which model and kind of event a line belongs to.
_ABOUT = "ce-type", "ce-namespace", "ce-inferenceservicename", "ce-endpoint", "ce-modelid"
_about = itemgetter(*_ABOUT)
_NEEDED = {*_ABOUT, "ce-requestid", "ce-time"}
#: Headers that a common line may have: the last two count only if one of those above is empty. A status
#: or a component can make the event more than its type says.
_may_have = re.compile(
    "ce-(?!statuscode$|component$)[a-z0-9]+|content-type|seldon-puid|traceparent"
).fullmatch


class _Body(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A response or a feedback with the common members only."""

    data: Data | None = None
    meta: msgspec.Raw = msgspec.Raw(b"")
    reward: bool | int | float | None = None
    truth: Truth | None = None


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    headers: dict[str, str]
    data: _Body


_decoder = msgspec.json.Decoder(_Line)

#: A line that was not decoded: its position among the lines, its text, and the parsed line if it is a
#: common one.
_RemainingLine = tuple[int, bytes, _Line | None]

#: The content that, with the model, decides the meaning of a common line: names and reading of the one
#: row of a response; for a feedback these (None without truth data) and the reward.
_Content = tuple[object, ...]
#: The template rows of one model and type by content; None is a stream of requests, which are only
#: counted as read.
_Stream = dict[_Content, PredictionRow | FeedbackRow]
_StreamKey = tuple[str, str, str, str, str, str]
_NEW: _Stream = {}


class LineReader:
    """Decodes blocks of lines and counts them in the decoder's telemetry.

    Observations later than ``as_of`` (ns) are decoded and left out of the batches.
    """

    def __init__(self, decoder: Decoder, as_of: int | None = None) -> None:
        self._decoder = decoder
        self._time = TimeParser()
        self._as_of = MAX_TIME_NS if as_of is None else as_of
        self._batched = 0
        self._invalidate()

    def _invalidate(self) -> None:
        self._builder = BatchBuilder()
        self._streams: dict[_StreamKey, _Stream | None] = {}
        self._contents = 0

    def read(self, block: bytes, first: int) -> Lines:
        """Decode whole lines; ``first`` is the number of the first line in the file."""
        bad: list[BadLine] = []
        empty = self._batched = 0
        remaining, count = self._decode_common(block)
        for position, text, line in remaining:
            if not text or text.isspace():
                empty += 1
                continue
            letter = self._decode(text, first + position, line)
            if letter is not None:
                bad.append(BadLine(first + position, letter))
        return Lines(self._build(), bad, count - empty + self._batched)

    def _build(self) -> ObservationBatch:
        batch = self._builder.build("", keep_dictionaries=True)
        if self._contents > _MAX_CONTENTS or len(self._streams) > _MAX_STREAMS:
            self._invalidate()
        return batch

    def _decode_common(self, block: bytes) -> tuple[list[_RemainingLine], int]:
        """Decode the lines that have a template; return all others, and the number of lines."""
        lines = _parse(block)
        remaining = self._decode_parsed(lines)
        texts = block.split(b"\n") if remaining else []
        return [(at, texts[at], lines[at]) for at in remaining], len(lines)

    def _decode_parsed(self, lines: "Sequence[_Line | None]") -> list[int]:
        """Decode the lines that have a template; return the positions of all others."""
        parse_time, streams, as_of = self._time, self._streams, self._as_of
        predictions, feedbacks = self._builder.predictions, self._builder.feedbacks
        others: list[int] = []
        requests = responses = judgements = 0
        for position, line in enumerate(lines):
            if line is None:
                others.append(position)
                continue
            headers = line.headers
            key = _stream_key(headers)
            stream = _NEW if key is None else streams.get(key, _NEW)
            if stream is None:
                requests += 1
                continue
            content = _content(line.data) if stream else None
            if content is None or content not in stream:
                others.append(position)
                continue
            row = stream[content]
            request_id = headers["ce-requestid"]
            time = parse_time(headers["ce-time"].encode())
            if time is None or not 0 < len(request_id) < SHORT_ID:
                others.append(position)
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
                            row.values,
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
                            row.values,
                        )
                    )
        events = self._decoder.telemetry.events
        for kind, count in (REQUEST, requests), (RESPONSE, responses), (FEEDBACK, judgements):
            if count:
                events[kind] += count
        return others

    def _decode(self, text: bytes, number: int, line: _Line | None) -> DeadLetter | None:
        """Decode any line; return the dead letter if it is not an event at all."""
        try:
            event = parse_line(text, number, NO_TIME)
        except LineError as error:
            letter = DeadLetter(error.reason, str(error))
            self._decoder.count_dead_letter(letter)
            return letter
        builder, decoded = self._builder, self._decoder.decode(*event)
        self._batched += decoded.events - 1
        row: PredictionRow | FeedbackRow | None = None
        for observation in decoded.observations:
            rows: Sequence[PredictionRow | FeedbackRow]
            is_prediction = isinstance(observation, Prediction)
            rows = builder.predictions if is_prediction else builder.feedbacks
            builder.add(observation)
            row = rows[-1]
            if observation.time > self._as_of:
                rows.pop()
        if decoded.reusable or decoded.excluded is not None:
            self._add_template(text, line, row, decoded)
        return None

    def _add_template(
        self,
        text: bytes,
        line: _Line | None,
        row: PredictionRow | FeedbackRow | None,
        decoded: Decoded,
    ) -> None:
        """Decode lines like this one by its template from now on; ``row`` is None for a request."""
        key = None if line is None else _stream_key(line.headers)
        if line is None or key is None or not decoded.repeats:
            return
        if row is None:
            self._streams[key] = None
            return
        content = _content(line.data)
        stream = self._streams.setdefault(key, {})
        if stream is not None and content is not None:
            stream[content] = row
            self._contents += 1


class NativeLineReader(LineReader):
    """`LineReader` on the native fast path."""

    def _invalidate(self) -> None:
        super()._invalidate()
        self._fast_decoder = FastDecoder(
            self._decoder, [self._builder], UNLIMITED, UNLIMITED, lambda _: None, self._as_of
        )

    def _decode_common(self, block: bytes) -> tuple[list[_RemainingLine], int]:
        remaining, count = self._fast_decoder.decode_lines(block)
        return [(position, text, None) for position, text in remaining], count

    def _add_template(
        self,
        text: bytes,
        line: _Line | None,
        row: PredictionRow | FeedbackRow | None,
        decoded: Decoded,
    ) -> None:
        self._fast_decoder.add_line_template(text, decoded)
        self._contents += row is not None

    def _build(self) -> ObservationBatch:
        self._fast_decoder.flush_rows(0, keep_dictionaries=True)
        batch = self._builder.build("", keep_dictionaries=True)
        if self._contents > _MAX_CONTENTS:
            self._invalidate()
        return batch


def line_reader(decoder: Decoder, as_of: int | None = None) -> LineReader:
    """Return the fastest `LineReader` of this installation."""
    return (NativeLineReader if use_native else LineReader)(decoder, as_of)


def _stream_key(headers: dict[str, str]) -> _StreamKey | None:
    """Return the stream of a line, None if its headers are not the common ones."""
    if not _are_common(tuple(headers)):
        return None
    kind, namespace, deployment, predictor, model = _about(headers)
    if kind not in _TYPES or not deployment or not model:
        return None
    if headers.get("ce-specversion", "")[:1] == '"':
        return None  # the decoder refuses it
    return kind, namespace, deployment, predictor, model, headers.get("content-type", "")


@lru_cache(1000)
def _are_common(names: tuple[str, ...]) -> bool:
    return _NEEDED.issubset(names) and all(map(_may_have, names))


def _content(body: _Body) -> _Content | None:
    """Return the content of a body, None if it is not a common one after all."""
    data, truth = body.data, body.truth
    if truth is None:
        if data is None:
            return (None, None, body.reward)
        if body.reward is not None or len(data.ndarray) != 1:
            return None
        return (data.names, row_key(data.ndarray[0]))
    if data is not None:
        return None
    data = truth.data
    if data is None:
        return (None, None, body.reward)
    if len(data.ndarray) != 1:
        return None
    return (data.names, row_key(data.ndarray[0]), body.reward)


def _parse(block: bytes) -> Sequence[_Line | None]:
    """Parse the common lines of a block; None stands for each other line."""
    count = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        if not block.isascii():
            block.decode()  # the parser does not check the text that it skips
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
