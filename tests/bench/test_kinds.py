"""Each kind of message says what its load expects, and its cost is measured and shown."""

import json
from pathlib import Path

import pytest

from bench.kinds import costs, main, table
from bench.messages.catalog import MIXED, kinds
from bench.messages.kind import Kind
from bench.support.load import Event, Load
from bench.support.measure import BenchError, differences
from processor import evaluate

KINDS = kinds()
#: Their rows are no labels, or a request has other answers or other cells than the load expects.
NOT_LABELS = {"numbers", "sets", "sets-0-1", "shadow", "reward"}


def _evaluated(events: list[Event]) -> list[dict[str, object]]:
    lines = (
        {
            "headers": {name.replace("_", "-"): text.decode() for name, text in headers},
            "data": value,
        }
        for headers, value in events
    )
    models: list[dict[str, object]] = evaluate(lines).to_dict()["models"]
    return models


@pytest.mark.parametrize("name", [name for name in KINDS if name not in NOT_LABELS])
def test_the_processor_finds_what_the_load_expects(name: str) -> None:
    kind = KINDS[name]
    load = Load(requests=60, models=2, kinds=(kind,))

    found = _evaluated(list(kind.records(load.events())))

    assert differences(load.expected(), found) == []
    assert load.expected().judged > 20 * kind.rows


def test_kinds_take_turns_in_the_mixed_load() -> None:
    load = Load(requests=150, models=6, kinds=MIXED)

    models = load.expected().models
    assert differences(load.expected(), _evaluated(list(load.events()))) == []
    labels = [{predicted for _, predicted in model.cells} for model in models.values()]
    assert labels.count({"0", "1", "2"}) == labels.count({"0", "1"}) == 2
    assert labels.count({"t:0", "t:1", "t:2"}) == 2


@pytest.mark.parametrize("name", KINDS)
def test_costs_of_each_stage(name: str) -> None:
    found = costs(KINDS[name], 150)

    assert min(found.values()) > 0
    assert sum(found.values()) == pytest.approx(2 * found["all"])


def test_a_kind_that_is_not_read_is_no_figure() -> None:
    kind = Kind("nonsense", lambda _: b"[", lambda *_: b"{}")

    with pytest.raises(BenchError, match=r"can't be read: .*bad_json"):
        costs(kind, 100)


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kinds.json"

    assert main(["--events", "100", "--kinds", "common", "--json", str(path)]) == 0

    written = json.loads(path.read_text())
    title, native = written["kinds"]["common"]["title"], written["kinds"]["common"]["native"]
    shown = capsys.readouterr()
    assert written["events"] == 100
    assert f"| {title} | {native['events to rows']:.1f} | " in shown.out
    assert "1/1 common: " in shown.err


def test_batches_have_a_line_for_a_row_too() -> None:
    stages = {"events to rows": 10.0, "join": 4.0, "tally": 1.0, "all": 15.0}
    one = {"title": "one", "rows": 1, "native": stages, "general": stages}
    found = {"one": one, "five": one | {"title": "five", "rows": 5}}

    _, _, *lines = table(found).splitlines()

    assert lines == [
        "| one | 10.0 | 4.0 | 1.0 | 15.0 | 1.0 | 10.0 | 4.0 | 1.0 | 15.0 |",
        "| five | 10.0 | 4.0 | 1.0 | 15.0 | 1.0 | 10.0 | 4.0 | 1.0 | 15.0 |",
        "| the same, per row | 2.0 | 0.8 | 0.2 | 3.0 | 0.2 | 2.0 | 0.8 | 0.2 | 3.0 |",
    ]


def test_the_documentation_has_every_kind() -> None:
    shown = (Path(__file__).parents[2] / "docs" / "explanation" / "performance.md").read_text()

    assert [kind.title for kind in KINDS.values() if f"\n| {kind.title} | " not in shown] == []
