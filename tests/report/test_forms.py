"""A report as text, CSV and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportions_ztest

from processor.report.formats.text import printable
from tests.support.reports.command import output_of, processor
from tests.support.reports.csv_form import from_csv, without_tasks
from tests.support.reports.traffic import HOSTILE, START, event, label, traffic, write

DATA = Path(__file__).resolve().parents[1] / "data" / "seed-experiment"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("events") / "events.ndjson", traffic(200, 5, HOSTILE, shadow=0.3)
    )


@pytest.mark.parametrize("options", [(), ("--by", "feedback", "--from", "2026-03-01T01:00:00Z")])
def test_csv_holds_every_number_of_the_json(hostile: Path, options: tuple[str, ...]) -> None:
    for path in (hostile, DATA / "events.ndjson"):
        expected = without_tasks(json.loads(output_of("replay", path, *options)))
        assert from_csv(output_of("report", path, *options, "--format", "csv")) == expected


def test_text_and_json_of_replay_and_report_are_the_same(hostile: Path) -> None:
    for form in ("json", "text"):
        assert output_of("replay", hostile, "--format", form) == output_of(
            "report", hostile, "--format", form
        )


def test_text_is_aligned_and_obeys_nobody(hostile: Path) -> None:
    text = output_of("report", hostile)
    assert "\x1b" not in text
    assert "\u202e" not in text
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if "actual \\ predicted" in line)
    matrix = lines[start : start + len(HOSTILE) + 1]
    assert max(map(len, matrix)) <= 100
    assert len({len(line) for line in matrix}) == 1
    assert any(line.startswith("  (empty)") for line in matrix)
    assert any(printable("=1+1\n,second line", 24) in line for line in matrix)


def test_a_wide_matrix_is_cut_to_its_largest_classes(tmp_path: Path) -> None:
    labels = tuple(f"a-rather-long-class-name-{i}" for i in range(30))
    path = write(tmp_path / "events.ndjson", traffic(300, 5, labels))
    lines = output_of("report", path).splitlines()
    assert max(map(len, lines)) <= 100
    matrix = lines[
        next(i for i, line in enumerate(lines) if "predicted" in line and "\\" in line) :
    ]
    shown = len(matrix[0].split()) - 4  # the corner's three words, and other
    hidden = len(json.loads(output_of("replay", path))["models"][0]["classes"]) - shown
    assert matrix[0].endswith("other")
    assert f"  other: {hidden} smaller classes" in matrix


def compared(*arguments: str | Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads(
        output_of("report", *arguments, "--format", "json")
    )["comparisons"]
    return found


def test_predictors_side_by_side(tmp_path: Path) -> None:
    events = list(traffic(400, 5, ("a", "b", "c"), shadow=0.6))
    # Requests with several rows are paired row by row.
    rows = {"data": {"ndarray": ["a", "b", "c"]}}
    for predictor, answers in (("default", ["a", "b", "c"]), ("shadow", ["a", "c", "b"])):
        model = "clf" if predictor == "default" else "new"
        data = {"data": {"ndarray": answers}}
        events.append(event("response", "rows", 5, data, predictor=predictor, model=model))
    events.append(event("feedback", "rows", 9, {"truth": rows}))
    path = write(tmp_path / "events.ndjson", events)
    (found,) = compared(path, "--compare", "predictor")
    first, second = found["first"]["result"], found["second"]["result"]
    assert (first["predictor"], second["predictor"]) == ("default", "shadow")
    assert found["difference"] == pytest.approx(second["accuracy"] - first["accuracy"])

    predicted: dict[str, dict[str, list[str]]] = {}
    truths: dict[str, list[str]] = {}
    for each in events:
        request, data = each["headers"]["ce-requestid"], each["data"]
        if "truth" in data:
            truths[request] = data["truth"]["data"]["ndarray"]
        else:
            of = predicted.setdefault(each["headers"]["ce-endpoint"], {})
            of[request] = data["data"]["ndarray"]
    table = [[0, 0], [0, 0]]
    for request in predicted["default"].keys() & predicted["shadow"].keys() & truths.keys():
        for one, other, truth in zip(
            predicted["default"][request],
            predicted["shadow"][request],
            truths[request],
            strict=True,
        ):
            table[one != truth][other != truth] += 1
    z, paired = found["tests"]
    assert z["name"] == "two-proportion z-test (pooled)"
    statistic, p_value = proportions_ztest(
        [second["correct"], first["correct"]], [second["judged"], first["judged"]]
    )
    assert (z["statistic"], z["p_value"]) == pytest.approx((statistic, p_value))
    assert paired["name"].startswith("McNemar's test (chi squared")
    assert (paired["only_first"], paired["only_second"]) == (table[0][1], table[1][0])
    assert paired["pairs"] == sum(map(sum, table))
    reference = mcnemar(table, exact=False, correction=True)
    assert paired["p_value"] == pytest.approx(reference.pvalue)
    text = output_of("report", path, "--compare", "predictor")
    assert "McNemar's test" in text
    assert "default / clf" in text


def test_periods_side_by_side(tmp_path: Path) -> None:
    good = traffic(200, 5, ("a", "b"), right=0.9)
    later = traffic(100, 5, ("a", "b"), right=0.5, seed=2, start=START + 24 * 3600 * 10**9)
    events = [*good]
    for each in later:
        each["headers"]["ce-requestid"] += "-later"
        events.append(each)
    path = write(tmp_path / "events.ndjson", events)
    cut = "2026-03-01T12:00:00Z"
    (found,) = compared(path, "--from", cut, "--compare", f"/{cut}")
    before, after = (json.loads(output_of("replay", path, *span))["models"] for span in
                     (("--to", cut), ("--from", cut)))  # fmt: skip
    assert [found["first"]["result"]] == before
    assert [found["second"]["result"]] == after
    assert found["first"]["title"] == f"to {cut}"
    (test,) = found["tests"]
    _, p_value = proportions_ztest(
        [before[0]["correct"], after[0]["correct"]], [before[0]["judged"], after[0]["judged"]]
    )
    assert test["p_value"] == pytest.approx(p_value)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", [event("response", "r", 1, label("a"))])
    for options, message in (
        (("--compare", "yesterday"), "'yesterday' is neither"),
        (("--compare", "2026-03-02T00:00:00Z/2026-03-01T00:00:00Z"), "FROM must be before TO"),
        (("--compare", "predictor", "--format", "csv"), "does not apply to csv"),
        (("--step", "5m"), "--step applies to --format openmetrics"),
        (("--stored",), "SOURCE does not apply with --stored"),
    ):
        ran = processor("report", path, *options)
        assert ran.returncode == 2, options
        assert message in ran.stderr
        assert "Traceback" not in ran.stderr
    assert "name a SOURCE" in processor("report").stderr


def test_models_without_a_counterpart_are_named(tmp_path: Path) -> None:
    events = [event("response", "r", 1, label("a"))]
    path = write(tmp_path / "events.ndjson", events)
    assert compared(path, "--compare", "predictor") == []
    assert "no counterpart: shop/pets/default/clf" in output_of(
        "report", path, "--compare", "predictor"
    )
    # A predictor with two models, neither of which has the name of the other predictor's.
    events += [
        event("response", "r", 1, label("a"), predictor="canary", model=name)
        for name in ("one", "two")
    ]
    path = write(tmp_path / "events.ndjson", events)
    text = output_of("report", path, "--compare", "predictor")
    assert "no counterpart: shop/pets/canary/one, shop/pets/canary/two" in text
    # A period without the model has an empty side.
    (found,) = compared(path, "--deployment", "pets", "--compare", "2027-01-01T00:00:00Z/")[-1:]
    assert found["first"]["result"]["predictions"] == 0
    assert found["tests"] == []
    nothing = ("--from", "2027-01-01T00:00:00Z", "--compare", "2027-01-01T00:00:00Z/")
    assert "nothing to compare" in output_of("report", path, *nothing)
