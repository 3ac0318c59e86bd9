"""Decoding of events as the archive holds them, natively where that is possible."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from processor.archive.sqlite.file import StoredEvent, explain, raw_event
from processor.domain.events.decoder import Decoder
from processor.domain.events.fast_decoder import UNLIMITED, FastDecoder, SourceRecord
from processor.domain.log.observations import BatchBuilder, ObservationBatch, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.telemetry import RecentDeadLetter, Telemetry

#: The most characters of a dead letter's detail that the status page shows.
_MAX_DETAIL = 200


class DecodedEvents(NamedTuple):
    """The observations of some events, and the numbers of these events: one for each prediction and then
    for each feedback, in the order of the rows."""

    batch: ObservationBatch
    numbers: list[int]


class RowDecoder:
    """Decodes events of one archive and counts them in ``telemetry``."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry, archive: str, path: Path) -> None:
        self._decoder = Decoder(rules, telemetry)
        self._archive = archive
        self._path = path
        self._builder = builder = BatchBuilder()
        self._fast_decoder: FastDecoder | None = None
        if use_native:
            self._fast_decoder = FastDecoder(
                self._decoder, [builder], UNLIMITED, UNLIMITED, lambda _: None
            )

    def decode(
        self, rows: Sequence[StoredEvent], dead_letters: list[RecentDeadLetter]
    ) -> DecodedEvents:
        """Decode events, and add those that can't be understood to ``dead_letters``. `ArchiveError` if
        one is damaged; then none was decoded."""
        fast_decoder, builder = self._fast_decoder, self._builder
        predictions, feedbacks = list[int](), list[int]()
        remaining: Sequence[int] = range(len(rows))
        try:
            if fast_decoder is not None:
                remaining, predictions, feedbacks = fast_decoder.decode_archived(rows, raw_event)
            events = [(rows[position][0], raw_event(rows[position])) for position in remaining]
        except msgspec.MsgspecError as error:
            raise explain(error, self._path, "read") from None
        for number, event in events:
            decoded = self._decoder.decode(*event)
            for one in decoded.observations:
                (predictions if isinstance(one, Prediction) else feedbacks).append(number)
                builder.add(one)
            for failed, letter in decoded.dead_letters:
                detail = letter.detail[:_MAX_DETAIL]
                at = ("archive", 0, number)
                dead_letters.append(RecentDeadLetter(failed.timestamp, letter.reason, detail, *at))
            if fast_decoder is not None:
                record = SourceRecord(0, 0, None, event.value, list(event.headers))
                fast_decoder.add_record_template(record, decoded)
        if fast_decoder is not None:
            fast_decoder.flush_rows(0)
        return DecodedEvents(builder.build(self._archive), predictions + feedbacks)
