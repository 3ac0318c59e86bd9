"""The bytes that this release writes to the log, the table and the snapshots, for recorded events.

`python -m tests.support.log_format_fixture` writes them to
tests/data/log-format/<SCHEMA_VERSION>.json, once for each new schema. An existing file never changes:
users' brokers hold records in this format.
"""

import base64
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import parse_line
from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import (
    SCHEMA_VERSION,
    BatchBuilder,
    Feedback,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import Heartbeat, decode_observation, encode
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.tally.windows import parse_window
from processor.domain.timestamps import SECOND
from processor.kafka.control_log import ControlRecord, encode_control
from processor.models_file import read_models
from processor.stream.snapshot_file import SnapshotFile
from processor.stream.tally_stage import TallyStage
from processor.telemetry import Telemetry

DATA = Path(__file__).resolve().parents[1] / "data"
LOG_ID, PARTITIONS, HORIZON = "0123456789abcdef", 4, 7 * 86_400 * SECOND
#: The append time of the first record in ns; each later one is a second later.
BEGIN = 1_795_165_500 * SECOND
_ROWS = 40
_MANY = [0.5, *[0.025] * 20]
#: Rows and their truth by deployment: pairs, few and many probabilities, numbers (some with sums of more
#: than 64 bits), label sets, and labels with a custom statistic.
_VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "two": ([0.25, 0.75], [1, 0]),
    "three": ([[0.2, 0.7, 0.1], [0.5, 0.25, 0.25]], [1, 2]),
    "many": ([_MANY, _MANY[::-1]], [0, 3]),
    "price": ([21.5, -1e11, 3], [20, 1e11, 3.25]),
    "rough": ([1500.5, 21.5], [1300, 0]),
    "tags": ([[1, 0, 1], ["a", "b"]], [["a"], []]),
    "cost": (["spam", "ham"], ["ham", "eggs"]),
}
RULES = {
    "models": [
        {"match": "*/two", "classes": ["no", "yes"]},
        {"match": "*/price", "task": "regression", "tolerance": "10%"},
        {"match": "*/rough", "unit": 0.01, "tolerance": 30},
        {"match": "*/tags", "task": "multilabel", "classes": ["a", "b", "c"]},
        {"match": "*/cost", "statistics": ["examples.cost_matrix:CostMatrix"]},
    ]
}


def path(version: int) -> Path:
    """The fixture of a schema version."""
    return DATA / "log-format" / f"{version}.json"


def text(value: bytes) -> str:
    """Bytes as text for JSON."""
    return base64.b64encode(value).decode()


def observations(more: Iterable[Prediction | Feedback] = ()) -> list[bytes]:
    """The recorded events and some more as observation records, and a heartbeat."""
    decoder = Decoder(ModelRules(), Telemetry())
    builder, records = BatchBuilder(), []
    for number, line in enumerate(
        (DATA / "seed-experiment/events.ndjson").read_bytes().split(b"\n")
    ):
        if not line:
            continue
        decoded = decoder.decode(*parse_line(line, number, 0))
        assert not decoded.dead_letters
        for observation in decoded.observations:
            builder.add(observation)
        if builder.rows >= _ROWS:
            records.append(encode(builder.build(LOG_ID)))
    records.append(encode(builder.build(LOG_ID)))
    for observation in more:
        builder.add(observation)
    if builder.rows:
        records.append(encode(builder.build(LOG_ID)))
    records.append(encode(Heartbeat(SCHEMA_VERSION, LOG_ID, len(records))))
    return records


def observations_of_values() -> list[Prediction | Feedback]:
    """Requests of every kind of value with their truth, as one of several rows and as single ones."""
    decoder = Decoder(parse_rules(RULES, "models.yaml"), Telemetry())
    found: list[Prediction | Feedback] = []
    for deployment, (rows, truth) in _VALUES.items():
        pairs = [
            (rows, truth),
            *[([row], [actual]) for row, actual in zip(rows, truth, strict=True)],
        ]
        for number, (predicted, actual) in enumerate(pairs):
            for kind, body in (
                ("inference.response", {"data": {"ndarray": predicted}}),
                ("feedback", {"truth": {"data": {"ndarray": actual}}}),
            ):
                headers = {
                    "ce_type": f"io.seldon.serving.{kind}",
                    "ce_time": "2026-11-20T09:00:00Z",
                    "ce_requestid": f"0a1b2c3d-0000-4000-8000-{number:012x}" if number else "rows",
                    "ce_modelid": "classifier",
                    "ce_inferenceservicename": deployment,
                    "ce_namespace": "values",
                    "ce_endpoint": "default",
                }
                encoded = [(name, text.encode()) for name, text in headers.items()]
                found += decoder.decode(encoded, json.dumps(body).encode(), 0).observations
    return found


def new_join() -> JoinFold:
    return JoinFold(LOG_ID, 0, PARTITIONS, HORIZON, Telemetry())


def new_tally(partition: int, table: dict[bytes, bytes]) -> TallyStage:
    windows = (parse_window("all"), parse_window("24h"))
    return TallyStage(partition, LOG_ID, "deltas", windows, table, Telemetry())


def time_of(offset: int) -> int:
    """The append time of a record in ns."""
    return BEGIN + offset * SECOND


def snapshot(join: JoinFold, offset: int) -> bytes:
    capture = snapshot_file(Path()).capture(offset, join.state)
    assert capture.step(math.inf)
    return b"".join(capture.parts)


def snapshot_file(folder: Path) -> SnapshotFile:
    return SnapshotFile(folder, "app", LOG_ID, 0, PARTITIONS, HORIZON)


def control() -> list[bytes]:
    return [
        encode_control(ControlRecord("epoch", log_id=LOG_ID, horizon=HORIZON // SECOND)),
        encode_control(ControlRecord("cursor", source="index/0", position=17)),
        encode_control(ControlRecord("done")),
    ]


def fold_deltas(batches: list[Deltas]) -> dict[int, list[bytes]]:
    """The encoded delta batches by target partition."""
    found: dict[int, list[bytes]] = {}
    for batch in batches:
        for partition, delta in batch.items():
            found.setdefault(partition, []).append(encode(delta))
    return found


def everything() -> dict[str, Any]:
    """The content of the fixture."""
    read_models(RULES, custom_statistics=True)
    try:
        return _everything()
    finally:
        read_models({})


def _everything() -> dict[str, Any]:
    join, records = new_join(), observations(observations_of_values())
    batches: list[Deltas] = []
    for offset, value in enumerate(records):
        record = decode_observation(value)
        if isinstance(record, Heartbeat):
            join.advance(time_of(offset))
        elif isinstance(record, ObservationBatch):
            batches.append(join.apply(offset, time_of(offset), record))
    deltas = fold_deltas(batches)
    table: dict[bytes, bytes] = {}
    for partition, values in sorted(deltas.items()):
        stage = new_tally(partition, table)
        for offset, value in enumerate(values):
            stage.fold(offset, time_of(offset), value)
        stage.flush()
    return {
        "observations": [text(value) for value in records],
        "deltas": {str(number): [text(v) for v in values] for number, values in deltas.items()},
        "table": {text(key): text(value) for key, value in table.items()},
        "snapshot": text(snapshot(join, len(records))),
        "control": [value.decode() for value in control()],
    }


if __name__ == "__main__":
    target = path(SCHEMA_VERSION)
    if target.exists():
        sys.exit(f"{target} exists: a new format needs a new SCHEMA_VERSION")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(everything(), indent=1) + "\n")
