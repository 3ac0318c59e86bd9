"""Events of every form are decoded natively, from the rows of the archive, as in Python."""

from collections import Counter
from pathlib import Path

import pytest

from processor.archive.sqlite.file import StoredEvent, to_row
from processor.domain import native
from processor.domain.join.fold import JoinFold
from processor.domain.join.requests import finder
from processor.domain.model_rules import ModelRules
from processor.embedded import row_decoder
from processor.embedded.row_decoder import RowDecoder
from processor.errors import ArchiveError
from processor.telemetry import RecentDeadLetter, Telemetry
from tests.support.domain import envelope_forms
from tests.support.domain.batch_rows import rows_of
from tests.support.events.damage import damaged_body

EVENTS, ALL_EVENTS, _PART = 5_000, 250_000, 500
_PATH = Path("events.sqlite")


class Reading:
    """A decoder with what it has counted."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self._decoder = RowDecoder(ModelRules(), self.telemetry, "archive", _PATH)
        self.join = JoinFold("archive", 0, 1, None, Telemetry())

    def read(self, rows: list[StoredEvent]) -> list[object]:
        """All that is known of some events."""
        letters = list[RecentDeadLetter]()
        decoded = self._decoder.decode(rows, letters)
        requests = self.join.requests_of(decoded.batch)
        assert len(requests.digests) == len(decoded.numbers)
        self.join.apply(0, 0, decoded.batch)
        counts = self.telemetry
        return [
            Counter(rows_of(decoded.batch)),
            Counter(zip(requests.digests, decoded.numbers, strict=True)),
            Counter(requests.missing_predictions),
            Counter(requests.missing_feedbacks),
            sorted((one.offset, one.reason, one.detail) for one in letters),
            {kind: count for kind, count in counts.events.items() if count},
            dict(counts.dead_letters),
            (counts.future_times, counts.says_nothing),
        ]


def _stored(count: int) -> list[StoredEvent]:
    rows = list[StoredEvent]()
    for event in envelope_forms.events(20261130, count, damaged_body):
        try:
            row = to_row(event._replace(timestamp=max(0, event.timestamp)))
        except (TypeError, UnicodeEncodeError):
            continue  # nothing that the ingress accepts
        if all(isinstance(value, bytes) for _, value in event.headers):
            rows.append((len(rows) + 1, *row))
    return rows


@pytest.mark.skipif(not native.use_native, reason="there is nothing to compare with")
def test_archived_events_of_every_form(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observations, the requests with the numbers of their events, whether these are in memory, the
    dead letters and the counts."""
    rows = _stored(ALL_EVENTS if request.config.getoption("--full") else EVENTS)
    fast = Reading()
    monkeypatch.setattr(row_decoder, "use_native", False)
    slow = Reading()
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        found = fast.read(part)
        with monkeypatch.context() as patch:
            patch.setattr(finder, "use_native", False)
            assert found == slow.read(part)
    interpreted = fast.telemetry.interpreted_events.total()
    assert interpreted < 0.7 * fast.telemetry.events.total()


def test_a_damaged_event_is_reported_before_any_is_decoded() -> None:
    reading = Reading()
    (good, other) = _stored(20)[:2]
    bad = (other[0], other[1], b"\xc1", other[3])
    with pytest.raises(ArchiveError, match="it is damaged: restore a copy"):
        reading.read([good, bad])
    assert reading.telemetry.events.total() == 0
    reading.read([good])
    assert reading.telemetry.events.total() > 0
