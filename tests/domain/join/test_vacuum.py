"""A vacuum removes unused entries; test_join_properties.py shows that it changes no count."""

from pathlib import Path

import pytest

from processor.domain.join import vacuum
from processor.domain.join.fold import JoinFold
from processor.domain.join.state import JoinState
from processor.domain.log.observations import EVENT, BatchBuilder, Feedback, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.timestamps import HOUR
from processor.domain.values import TEXT, Answer, Reading, Schema
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry
from tests.support.domain.join_model import request_name
from tests.support.domain.snapshot_files import write

HORIZON = 24 * HOUR


def _sizes(state: JoinState) -> tuple[int, ...]:
    assert len(state.requests.outline()) == len(state.deployments)
    return len(state.models), len(state.deployments), len(state.answers), len(state.truths)


def test_entries_of_expired_requests_are_removed_at_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred models that come once, and one that stays."""
    monkeypatch.setattr(vacuum, "MIN_ENTRIES", 100)
    join = JoinFold("e", 0, 8, HORIZON, Telemetry())
    builder = BatchBuilder()

    def add(model: str, label: str, number: int) -> None:
        key = ModelKey("seldon", model, "default", "m")
        answers = (Answer(label, None, TEXT, Schema()),)
        truth = (Reading(TEXT, label),)
        name = request_name(number)
        builder.add(Prediction(key, name, 0, EVENT, number, answers))
        builder.add(Feedback(key, name, 0, EVENT, number, truth, None))

    for number in range(100):
        add(f"once-{number}", f"label-{number}", number)
    join.apply(0, HORIZON, builder.build("e"))
    add("stays", "cat", 999)
    add("stays", "cat", 1000)
    later = HORIZON + 2 * HOUR
    join.apply(1, later, builder.build("e"))
    assert _sizes(join.state)[:2] == (101, 101)
    join.advance(later + HORIZON)
    assert sum(1 for _ in join.refs()) == 2
    file = SnapshotFile(tmp_path, "app", "e", 0, 8, HORIZON)
    judged = [(100, request_name(999)), (3, request_name(3))]
    capture = file.capture(2, join.state, judged)
    assert capture.step(1000)
    write(file, capture.parts)
    snapshot = file.read()
    assert snapshot is not None
    assert _sizes(snapshot.state) == (1, 1, 1, 1)
    assert snapshot.judged == [(0, request_name(999))]
    again = JoinFold("e", 0, 8, HORIZON, Telemetry())
    again.restore(snapshot.state)
    assert [len(one) for one in again.requests()] == [1, 1]
    # The requests are still known, so a repeat changes nothing.
    add("stays", "cat", 999)
    add("stays", "cat", 1000)
    assert again.apply(2, later + HORIZON, builder.build("e")) == {}
