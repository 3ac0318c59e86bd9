"""The log that `bench.takeover` fills comes to the counts that it expects."""

from bench.support.load import Expected
from bench.takeover import SHARED, Takeover, _records, table
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import ObservationBatch
from processor.domain.log.records import decode_observation
from processor.telemetry import Telemetry


def test_the_records_come_to_the_expected_counts() -> None:
    folds = [JoinFold("log", number, 8, None, Telemetry()) for number in range(8)]
    expected = Expected()
    for offset, (partition, value, counts) in enumerate(_records(3000, 5, "log")):
        record = decode_observation(value)
        assert isinstance(record, ObservationBatch)
        folds[partition].apply(offset, 0, record)
        expected.add(counts)
    assert sum(model.predictions for model in expected.models.values()) == 3000
    assert sum(len(fold.state.requests) for fold in folds) == 3000
    assert sum(fold.telemetry.joined for fold in folds) == expected.judged
    for number, fold in enumerate(folds):
        assert all(partition_of(request_id, 8) == number for (_, request_id), _ in fold.refs())


def test_the_table_has_a_row_for_each_takeover() -> None:
    lines = table([Takeover(SHARED, 12.34, 10.5, 1 << 30, 2 << 30)], 1000).splitlines()
    assert lines[0].startswith("| 1,000 requests |")
    assert lines[2] == "| with shared snapshots | 12.3 s | 10.5 s | 1,024 MiB | 2,048 MiB |"
