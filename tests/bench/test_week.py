"""A small simulated week is exact, and what differs is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.support.rows import (
    LABELS,
    RIGHT,
    TRUTH,
    WRONG,
    batch,
    feedback_row,
    model_keys,
    prediction_row,
)
from bench.week.__main__ import main
from bench.week.log_files import JournalFiles, journal, write
from bench.week.traffic import START, Traffic
from bench.week.truth import differences
from bench.week.worker import Life, live
from processor.domain.log.observations import BatchBuilder, Feedback, Prediction
from processor.domain.log.records import encode
from processor.domain.timestamps import HOUR
from processor.domain.values import SCORES, Answer, Reading, Schema

_SMALL = Traffic(rate=0.02, days=1, horizon=12, models=2)
_SHARE = {1: _SMALL, 4: replace(_SMALL, seed=2)}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("week")
    for part in ("journal", "data", "restart"):
        (folder / part).mkdir()
    written = {number: write(one, journal(folder, number)) for number, one in _SHARE.items()}
    return live(_SHARE, 5, folder, written)


def test_what_was_counted_is_the_truth(life: Life) -> None:
    assert len(life.looks) == 3
    assert [line for look in life.looks for line in differences(_SHARE, look)] == []
    assert life.full.tally_equal
    assert life.looks[-1].alone == life.too_late > 0
    assert life.left == 0


def test_one_that_is_missing_is_told(life: Life) -> None:
    look = life.looks[1]
    (_, counts), *_ = look.buckets[1, 0].items()
    counts.predictions -= 1
    (line,) = differences(_SHARE, look)
    counts.predictions += 1
    assert "bucket (1, 0)" in line
    (line,) = differences(_SHARE, look._replace(kept=look.kept + 1))
    assert "requests in memory" in line


def test_the_log_has_all_hours_and_every_kind(tmp_path: Path) -> None:
    written = write(_SMALL, tmp_path / "log")
    files = JournalFiles(tmp_path / "log")
    assert len(written) == _SMALL.all_hours > 24 + 12
    times = [message.timestamp for hour in range(len(written)) for message in files.hour(hour)]
    assert times == sorted(times)
    assert times[0] * 1_000_000 // HOUR == START // HOUR
    hours = [_SMALL.hour(number) for number in range(24)]
    for wanted in (
        [hour.again >= 0 for hour in hours],
        [hour.second.given for hour in hours],
        [hour.first.given & (hour.first.again >= 0) for hour in hours],
        [hour.first.given & (hour.first.reached // 60 - hour.reached // 60 > 12) for hour in hours],
    ):
        assert any(column.any() for column in wanted)


def test_a_batch_is_what_the_packer_makes() -> None:
    """But for the tables' unused entries, which a builder would not have, and digests."""
    (model,) = model_keys(1)
    schema, builder = Schema(names=LABELS), BatchBuilder()
    answers = [Answer(label, None, SCORES, schema, len(LABELS)) for label in LABELS]
    rows = [prediction_row(f"r{i}", 0, i, i) for i in range(3)]
    said = [feedback_row(f"r{i}", 0, i, i, form) for i, form in enumerate((TRUTH, WRONG, TRUTH))]
    said.append(feedback_row("r0", 0, 9, 0, RIGHT))
    for row, answer in zip(rows, answers, strict=True):
        builder.add(
            Prediction(model, row.request_id, row.time, row.source_rank, row.digest, (answer,))
        )
    for judgement in said:
        position = judgement.truth
        truth = None if position is None else (Reading(SCORES, int(str(position)), 3),)
        builder.add(
            Feedback(
                model, judgement.request_id, judgement.time, judgement.source_rank, judgement.digest,
                truth, judgement.reward,
            )
        )  # fmt: skip
    assert encode(batch([model], rows, said)) == encode(builder.build("bench"))


@pytest.mark.long
def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture, figures = tmp_path / "week.png", tmp_path / "week.json"
    arguments = ["--rate", "0.03", "--days", "1", "--horizon", "12", "--partitions", "3"]
    arguments += ["--workers", "2"]
    assert main([*arguments, "--picture", str(picture), "--json", str(figures)]) == 0
    assert "0 differences" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert '"differences": 0' in figures.read_text()
