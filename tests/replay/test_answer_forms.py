"""Forms of events that servers and senders really use: what each comes to, in every way of reading."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from processor.domain.events import document_batches, event_lines
from processor.domain.events.events_file import parse_line
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.results import Replay
from processor.models_file import read_models_file
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.report.formats.csv_rows import render_csv

DATA = Path(__file__).parents[1] / "data" / "answer-forms"
EXPECTED: dict[str, dict[str, Any]] = json.loads((DATA / "expected.json").read_text())
FILES = sorted(DATA.glob("*.ndjson"))


def dashed(event: RawEvent) -> RawEvent:
    """The event with ``ce-`` in place of ``ce_``, as some senders name headers on Kafka."""
    headers = [(name.replace("ce_", "ce-"), value) for name, value in event.headers]
    return event._replace(headers=headers)


def by_lines(fold: ReplayFold, lines: list[bytes]) -> None:
    assert not fold.add_lines(b"\n".join(lines) + b"\n", 1)


def by_single_lines(fold: ReplayFold, lines: list[bytes]) -> None:
    """One after the other, so that each can use the templates of those before it."""
    for number, line in enumerate(lines, 1):
        assert not fold.add_lines(line, number)


def by_records(fold: ReplayFold, lines: list[bytes]) -> None:
    fold.add(parse_line(line, number, -1) for number, line in enumerate(lines, 1))


def by_dashed_records(fold: ReplayFold, lines: list[bytes]) -> None:
    fold.add(dashed(parse_line(line, number, -1)) for number, line in enumerate(lines, 1))


Way = Callable[[ReplayFold, list[bytes]], None]
WAYS: list[Way] = [by_lines, by_single_lines, by_records, by_dashed_records]


def replay(path: Path, way: Way) -> Replay:
    name = EXPECTED[path.stem].get("models_file")
    rules = ModelRules() if name is None else read_models_file(DATA / name)
    fold = ReplayFold(rules, Selection())
    way(fold, path.read_bytes().splitlines())
    return fold.result()


def summed(result: Replay) -> dict[str, dict[str, Any]]:
    """The counts of each deployment, summed over its predictors and models."""
    sums: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    cells: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for model in result.models:
        name = f"{model.namespace}/{model.deployment}"
        sums[name].update(
            predictions=model.predictions or 0, judged=model.judged, correct=model.correct
        )
        cells[name].update({(cell.actual, cell.predicted): cell.count for cell in model.confusion})
    return {
        name: {
            **count,
            "confusion": [
                {"actual": actual, "predicted": predicted, "count": n}
                for (actual, predicted), n in sorted(cells[name].items())
            ],
        }
        for name, count in sums.items()
    }


@pytest.fixture(params=["general", "native"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder in Python alone, and the native one."""
    if request.param == "native" and not use_native:
        pytest.skip("the native extension is not installed")
    for module in (event_lines, document_batches):
        monkeypatch.setattr(module, "use_native", request.param == "native")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_counts(path: Path, way: Way) -> None:
    result, expected = replay(path, way), EXPECTED[path.stem]
    assert summed(result) == expected["models"]
    assert result.events.dead_letters == expected["dead_letters"]
    for name, count in expected.get("events", {}).items():
        assert getattr(result.events, name) == count, name
    for name, rewards in expected.get("rewards", {}).items():
        of_name = [m for m in result.models if f"{m.namespace}/{m.deployment}" == name]
        assert sum(m.rewards for m in of_name) == rewards["rewards"]
        assert sum(m.reward_sum for m in of_name) == pytest.approx(rewards["reward_sum"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_csv_has_as_many_fields_in_every_row(path: Path) -> None:
    text = "".join(render_csv(replay(path, by_lines)))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) > 1


def test_every_case_has_its_file() -> None:
    assert {path.stem for path in FILES} == EXPECTED.keys()
