"""The format of records and files on users' brokers and disks changes only with its version."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.domain.log.records import check, decode_delta, decode_observation, encode
from processor.domain.statistics import label_sets, probabilities
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.sums import Sum, Sums, of_kind
from processor.errors import LogMismatchError
from processor.kafka.control_log import decode_control
from processor.telemetry import Telemetry
from tests.support import log_format_fixture as fixture
from tests.support.domain.snapshot_files import write

_CHANGED = (
    "the {} of this release differs from the format of this schema on users' brokers: raise "
    "SCHEMA_VERSION, and freeze the new format with `python -m tests.support.log_format_fixture`"
)


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(fixture.path(SCHEMA_VERSION).read_text())
    return content


@pytest.mark.parametrize("part", ["observations", "deltas", "table", "snapshot", "control"])
def test_the_bytes_written_do_not_change(stored: dict[str, Any], part: str, tmp_path: Path) -> None:
    now, then = fixture.everything()[part], stored[part]
    if part == "table":
        now, then = _table(now), _table(then)
    if part == "snapshot":
        now, then = _requests(now, tmp_path), _requests(then, tmp_path)
    assert now == then, _CHANGED.format(part)


async def test_old_records_give_the_counts_of_the_experiment(stored: dict[str, Any]) -> None:
    """From the table, as at a start, and from the deltas."""
    table = {_bytes(key): _bytes(value) for key, value in stored["table"].items()}
    for source in (table, {}):
        counts: dict[str, Counts] = {}
        for number, values in stored["deltas"].items():
            stage = fixture.new_tally(int(number), source)
            start = await stage.load(0, len(values))
            assert start == (len(values) if source else 0)
            for offset in range(start, len(values)):
                stage.fold(offset, fixture.time_of(offset), _bytes(values[offset]))
            counts |= {
                key.deployment: found
                for key, window, basis, found in stage.board(fixture.BEGIN / 1e9)
                if (window, basis) == ("all", "request")
            }
        found = counts.pop("sklearn")
        assert (found.predictions, found.judged, found.correct) == (100, 63, 46)
        assert {name: (one.judged, one.correct) for name, one in counts.items()} == {
            **{"two": (4, 0), "three": (4, 2), "many": (4, 2)},
            **{"price": (6, 4), "rough": (4, 2), "tags": (4, 0)},
            "cost": (4, 0),
        }
        # Each request came alone and with the others.
        assert found_of(counts["price"].sums, Sum.SQUARED_ERROR) == 2 * (
            1_500_000**2 + (2 * 10**17) ** 2 + 250_000**2
        )
        assert probabilities.scores(counts["many"].sums_by_kind()).items == 4
        assert label_sets.scores(counts["tags"].sums).items == 4
        assert found_of(counts["cost"].sums, Sum.CUSTOM_ITEMS) == 4
        assert of_kind(counts["cost"].sums, Sum.CUSTOM) == {
            ("cost_matrix\0items", 0): 4,
            ("cost_matrix\0cost", 0): 2 * (500 + 100),
        }


def found_of(sums: Sums, kind: Sum) -> int:
    """The sum of a kind over all labels."""
    return sum(of_kind(sums, kind).values())


def test_an_old_snapshot_contains_its_requests(stored: dict[str, Any], tmp_path: Path) -> None:
    """Applying all observations again changes nothing."""
    file = fixture.snapshot_file(tmp_path)
    write(file, [_bytes(stored["snapshot"])])
    snapshot = file.read()
    assert snapshot is not None
    join = fixture.new_join()
    join.restore(snapshot.state)
    for offset, value in enumerate(stored["observations"], start=snapshot.offset):
        record = decode_observation(_bytes(value))
        if isinstance(record, ObservationBatch):
            assert join.apply(offset, fixture.time_of(offset), record) == {}
    assert join.telemetry.joined == Telemetry().joined == 0


def test_another_schema_is_refused_with_a_remedy(stored: dict[str, Any]) -> None:
    for decode, packed in (
        (decode_observation, stored["observations"][0]),
        (decode_delta, next(iter(stored["deltas"].values()))[0]),
    ):
        record = decode(_bytes(packed))
        check(record, fixture.LOG_ID, "topic")
        record.version += 1
        with pytest.raises(
            LogMismatchError,
            match=f"records of {_LATER}.* new PROCESSOR_APP_ID",
        ):
            check(decode(encode(record)), fixture.LOG_ID, "topic")
    later = stored["control"][0].replace("{", f'{{"version":{SCHEMA_VERSION + 1},', 1)
    with pytest.raises(LogMismatchError, match=_LATER):
        decode_control(later.encode())


async def test_a_table_of_another_schema_is_refused(stored: dict[str, Any]) -> None:
    table = {}
    for key, packed in stored["table"].items():
        value = msgspec.msgpack.decode(_bytes(packed))
        value[0] += 1
        table[_bytes(key)] = msgspec.msgpack.encode(value)
    number = int(next(iter(stored["deltas"])))
    with pytest.raises(LogMismatchError, match=_LATER):
        await fixture.new_tally(number, table).load(0, 100)


def _table(packed: dict[str, str]) -> dict[bytes, Any]:
    """Decode a table; a manifest names its bucket blocks in any order."""
    found = {_bytes(key): msgspec.msgpack.decode(_bytes(value)) for key, value in packed.items()}
    for key, value in found.items():
        if len(msgspec.msgpack.decode(key)) == 1:
            value[5] = sorted((model, sorted(blocks)) for model, blocks in value[5])
    return found


def _requests(packed: str, folder: Path) -> object:
    """Read a snapshot; the requests of an hour stand in any order."""
    file = fixture.snapshot_file(folder)
    write(file, [_bytes(packed)])
    snapshot = file.read()
    assert snapshot is not None
    table = snapshot.state.requests
    found = [
        sorted(table.part(deployment, number))
        for deployment in range(len(snapshot.state.deployments))
        for number in range(table.parts(deployment))
    ]
    state = snapshot.state
    others = [
        getattr(state, name)
        for name in state.__struct_fields__
        if name not in ("requests", "completed_ids")
    ]
    ids = state.completed_ids.content()
    return len(_bytes(packed)), table.outline(), found, others, ids


_LATER = f"schema {SCHEMA_VERSION + 1}"


def _bytes(packed: str) -> bytes:
    return base64.b64decode(packed)
