"""The table and the JSON say what was measured, and what was not."""

import json
from pathlib import Path

from bench.support.measure import Run
from bench.support.report import Results, rows, table, write_json

TITLES = {
    "bare": "a loop", "processor": "ours", "kafka-streams": "KS", "quix": "Quix", "naive": "Faust",
}  # fmt: skip


def _run(system: str, seconds: float, events: int = 1000) -> Run:
    return Run(system, events, seconds, cpu_seconds=0.01, peak_bytes=50_000_000)


def _results() -> Results:
    first = [
        _run("bare", 0.01), _run("processor", 0.02), _run("kafka-streams", 0.05),
        _run("naive", 1, events=100),
    ]  # fmt: skip
    second = [_run("bare", 0.02), _run("processor", 0.025)]
    rounds = [{run.system: run for run in one} for one in (first, second)]
    left_out = {"quix": "not installed: no wheel", "kafka-streams": "failed in round 2: wrong"}
    return Results(TITLES, rounds, left_out)


def test_table_has_medians_spread_and_ratios_of_each_round() -> None:
    _, _, bare, ours, _, _, naive = table(_results()).splitlines()

    # A base that ran once serves all rounds; exactly-once did not run at all.
    assert bare == (
        "| a loop | 75,000 (50,000-100,000) | 1 | 3.75 | - | 750 "
        "| 0.0 (0.0-0.0) | 10.0 (10.0-10.0) | 50 (50-50) |"
    )
    assert "| 45,000 (40,000-50,000) | 0.65 | 2.25 | - | 450 |" in ours
    assert naive.startswith("| Faust (100 events) | 100 (100-100) | 0.001 | 0.005 | - | 1 |")


def test_what_is_left_out_has_its_reason_in_the_table() -> None:
    lines = table(_results()).splitlines()

    assert lines[5] == "| Quix | left out: not installed: no wheel" + " | -" * 7 + " |"
    assert lines[4].startswith("| KS (then left out: failed in round 2: wrong) | 20,000")
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_json_has_the_machine_and_by_load_a_row_per_system_and_every_run(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    write_json(path, {"mixed": _results(), "plain": Results({})}, {"cores": 2}, {"ndarray": 6.5})

    found = json.loads(path.read_text())
    mixed = found["loads"]["mixed"]
    ours = mixed["systems"][1]
    assert list(found["loads"]) == ["mixed", "plain"]
    assert found["machine"] == {"cores": 2}
    assert found["decoding_us"] == {"ndarray": 6.5}
    assert ours["rate"] == {"median": 45_000, "min": 40_000, "max": 50_000}
    assert ours["ratios"]["kafka-streams"]["median"] == 2.25
    assert ours["ratios"]["kafka-streams-eos"] is None
    assert mixed["systems"][3]["left_out"] == "not installed: no wheel"
    assert [(run["round"], run["system"]) for run in mixed["runs"]] == [
        (1, "bare"), (1, "processor"), (1, "kafka-streams"), (1, "naive"),
        (2, "bare"), (2, "processor"),
    ]  # fmt: skip
    assert len(rows(_results())) == len(TITLES)
