"""Savepoints that an earlier release wrote can be loaded for ever; and the records with which a load
begins a log change only with the schema."""

import json
from base64 import b64decode
from typing import Any

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import parse_line
from processor.domain.log.loaded import LoadedCounts, LoadedRequests, LoadedState
from processor.domain.log.observations import SCHEMA_VERSION, Feedback, IngestMode, Prediction
from processor.domain.log.records import decode_delta, decode_observation
from processor.domain.model_rules import ModelRules
from processor.domain.savepoint.contents import End
from processor.domain.savepoint.loading import LoadRecord, StateLoader
from processor.domain.timestamps import HOUR
from processor.kafka.control_log import decode_control, encode_control
from processor.models_file import read_models
from processor.savepoint.file import VERSION, SavepointReader
from processor.savepoint.kafka_sink import control_records
from processor.telemetry import Telemetry
from tests.savepoint.whole_app import WholeApp, moved, reader, saved
from tests.support.domain.join_batches import feedback, prediction
from tests.support.log_format_fixture import (
    BEGIN,
    DATA,
    LOG_ID,
    RULES,
    observations_of_values,
    text,
)

#: `python -m tests.savepoint.test_frozen` writes it, once for each new version of the format.
FROZEN = DATA / "savepoint" / f"{VERSION}.savepoint"
#: The same command writes the records of a load of it, once for each new schema of the log.
RECORDS = DATA / "savepoint" / f"records-{SCHEMA_VERSION}.json"
PARTITIONS = 3


def app() -> WholeApp:
    """An app with the seed experiment, values of every kind, a request that was not kept, and one that
    came back from the archive."""
    decoder = Decoder(ModelRules(), Telemetry())
    seen: list[Prediction | Feedback] = observations_of_values()
    lines = (DATA / "seed-experiment/events.ndjson").read_bytes().splitlines()
    for number, line in enumerate(lines):
        seen += decoder.decode(*parse_line(line, number, 0)).observations
    found = WholeApp(4, 7 * 24 * HOUR)
    found.pass_time(BEGIN + 40 * HOUR)
    found.put(IngestMode.COUNT_AND_DROP, [prediction("done", time=BEGIN - 400 * HOUR)])
    found.put(IngestMode.NORMAL, [feedback("back", time=BEGIN + 39 * HOUR)])
    found.put(IngestMode.RESTORED, [prediction("back", time=BEGIN + 38 * HOUR)])
    found.put(IngestMode.NORMAL, seen)
    return found


def records_of(savepoint: SavepointReader) -> tuple[list[LoadRecord], End]:
    """The records of a load, and the savepoint's last block."""
    loader = StateLoader(savepoint.header, LOG_ID, PARTITIONS)
    records: list[LoadRecord] = []
    for block in savepoint.blocks():
        records += loader.records(block)
    assert isinstance(block, End)
    return records, block


def stored_records() -> dict[str, list[Any]]:
    """The records of a load of the frozen savepoint, for JSON."""
    savepoint = reader(FROZEN.read_bytes())
    savepoint.header.product = "0"
    savepoint.header.cursors, savepoint.header.done = {"index/0": 17}, True
    savepoint.header.outcomes_since = savepoint.header.gap_since = BEGIN
    records, end = records_of(savepoint)
    control = control_records(savepoint.header, end, 4711, BEGIN)
    return {
        "records": [[deltas, number, text(value)] for deltas, number, value in records],
        "control": [encode_control(record).decode() for record in control],
    }


def test_a_frozen_savepoint_is_loaded() -> None:
    read_models(RULES, custom_statistics=True)
    try:
        old, new = app(), WholeApp(3, 7 * 24 * HOUR, "new")
        new.now = old.now
        moved(FROZEN.read_bytes(), new)
        assert new.windows() == old.windows()
        assert new.buckets() == old.buckets()
        assert new.gauges() == old.gauges()
        assert new.requests() == old.requests()
        # The request that was not kept is still known.
        before = new.buckets()
        new.put(IngestMode.NORMAL, [prediction("done", time=BEGIN - 400 * HOUR)])
        assert new.buckets() == before
    finally:
        read_models({})


def test_the_records_of_a_load_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.savepoint.kafka_sink.product_version", lambda: "0")
    assert stored_records() == json.loads(RECORDS.read_text()), (
        "the records of this release differ from those of this schema on users' brokers: raise "
        "SCHEMA_VERSION, and freeze the new format with `python -m tests.savepoint.test_frozen`"
    )


def test_frozen_records_of_every_kind_are_read() -> None:
    """A worker of a later release folds them as if they were sent now."""
    stored, new = json.loads(RECORDS.read_text()), WholeApp(PARTITIONS, 7 * 24 * HOUR, LOG_ID)
    kinds, modes = set(), set()
    read_models(RULES, custom_statistics=True)
    try:
        old = app()
        new.now = old.now
        for deltas, partition, value in stored["records"]:
            record = LoadRecord(deltas, partition, b64decode(value))
            found = (decode_delta if deltas else decode_observation)(record.value)
            kinds.add(type(found))
            if isinstance(found, LoadedRequests):
                modes |= {batch.mode for batch in found.batches}
            new.fold_loaded(record)
        assert kinds == {LoadedRequests, LoadedState, LoadedCounts}
        assert modes == {IngestMode.NORMAL, IngestMode.RESTORED}
        assert new.buckets() == old.buckets()
        assert new.requests() == old.requests()
        assert new.gauges() == old.gauges()
    finally:
        read_models({})
    control = [decode_control(value.encode()) for value in stored["control"]]
    assert [record.kind for record in control] == [
        "evicted", "outcomes", "gap", "cursor", "done", "loaded"
    ]  # fmt: skip


def _freeze() -> None:
    if not FROZEN.exists():
        read_models(RULES, custom_statistics=True)
        FROZEN.parent.mkdir(exist_ok=True)
        FROZEN.write_bytes(saved(app()))
    if RECORDS.exists():
        raise SystemExit(f"{RECORDS} exists: a new format needs a new SCHEMA_VERSION or VERSION")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.savepoint.kafka_sink.product_version", lambda: "0")
        RECORDS.write_text(json.dumps(stored_records(), indent=1) + "\n")


if __name__ == "__main__":
    _freeze()
