"""Tables of predictions and true labels: what a cell means, whatever the table is stored in."""

import json
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from processor import ProcessorError, evaluate
from processor.api import Evaluation
from processor.replay.tables.cells import read_time
from processor.replay.tables.columns import Columns, choose, guess

NAN = float("nan")
Write = Callable[[pd.DataFrame, Path], None]

FORMS: dict[str, Write] = {
    "table.csv": lambda frame, path: frame.to_csv(path, index=False),
    "table.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "table.csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    "table.parquet": lambda frame, path: frame.to_parquet(path),
    "rows.jsonl": lambda frame, path: frame.to_json(
        path, orient="records", lines=True, date_format="iso", date_unit="ns"
    ),
}


def cells(evaluation: Evaluation) -> dict[tuple[str, str], int]:
    """Counts of all models by (actual, predicted)."""
    return {
        (cell.actual, cell.predicted): cell.count
        for model in evaluation.models
        for cell in model.confusion
    }


def frame_of(predicted: Any, actual: Any) -> pd.DataFrame:
    return pd.DataFrame({"prediction": predicted, "actual": actual})


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("predicted", "actual", "counts"),
    [
        (["cat", "dog", "cat"], ["cat", "cat", None], {("cat", "cat"): 1, ("cat", "dog"): 1}),
        ([1, 0, 1], [1.0, NAN, 0.0], {("1", "1"): 1, ("0", "1"): 1}),
        ([10.0, 9.0, 9.0], [10, 9, 10], {("10", "10"): 1, ("9", "9"): 1, ("10", "9"): 1}),
        ([True, False, True], [True, True, False], {("1", "1"): 1, ("1", "0"): 1, ("0", "1"): 1}),
        ([0.7, 0.2, 0.5], [1, 1, 0], {("1", "1"): 1, ("1", "0"): 1, ("0", "1"): 1}),
        (["007", "a,b", 'q"\n'], ["007", "a,b", "x"],
         {("007", "007"): 1, ("a,b", "a,b"): 1, ("x", 'q"\n'): 1}),
        (pd.Categorical(["b", "a", None]), pd.Categorical(["b", "b", "a"]),
         {("b", "b"): 1, ("b", "a"): 1}),
        (pd.array([1, None, 2], "Int64"), pd.array([1, 2, None], "Int64"), {("1", "1"): 1}),
        ([-1, 1, -1], [-1, -1, 1], {("-1", "-1"): 1, ("-1", "1"): 1, ("1", "-1"): 1}),
    ],
    ids=["texts", "gaps", "floats", "booleans", "probabilities", "odd", "categories", "nullable",
         "signed"],
)  # fmt: skip
def test_a_label_is_the_same_in_every_form(
    tmp_path: Path, name: str, predicted: Any, actual: Any, counts: dict[tuple[str, str], int]
) -> None:
    frame = frame_of(predicted, actual)
    FORMS[name](frame, tmp_path / name)
    from_file = evaluate(tmp_path / name)
    assert cells(from_file) == counts
    from_frame = evaluate(frame)
    assert from_frame.to_dict() == from_file.to_dict()
    assert from_frame.events.read == 3


@pytest.mark.parametrize("name", FORMS)
def test_all_standard_columns(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {
            "request_id": ["a", "b", "b", "c"],
            "time": pd.to_datetime(
                ["2026-11-20T09:00:00.123456789"] * 3 + ["NaT"], format="ISO8601"
            ),
            "feedback_time": pd.to_datetime(["2026-11-21T09:00:00"] * 4, utc=True),
            "prediction": ["x", "x", "y", "y"],
            "actual": ["x", "y", "y", None],
            "reward": [1.0, NAN, NAN, NAN],
            "namespace": ["shop", "shop", "shop", None],
            "deployment": ["pets", "pets", "pets", None],
            "predictor": ["default", "default", "canary", None],
            "model": ["tree", "tree", "forest", None],
        }
    )
    FORMS[name](frame, tmp_path / name)
    for source in (tmp_path / name, frame):
        evaluation = evaluate(source)
        names = [(m.namespace, m.deployment, m.predictor, m.model) for m in evaluation.models]
        assert names == [
            ("", "data", "", ""),
            ("shop", "pets", "canary", "forest"),
            ("shop", "pets", "default", "tree"),
        ]
        data, canary, default = evaluation.models
        assert (data.predictions, data.judged) == (1, 0)
        # One request, two predictors: one truth for both.
        assert (canary.judged, canary.correct, default.judged, default.correct) == (1, 1, 2, 1)
        assert (default.rewards, default.reward_sum) == (1, 1.0)
        late = evaluate(source, start="2026-11-20T09:00:00.123456789Z")
        assert late["shop/pets/default"].predictions == 2
        assert evaluate(source, start="2026-11-20T09:00:00.123456790Z").models == []
        by_feedback = evaluate(source, by="feedback", start="2026-11-21", end="2026-11-22")
        assert by_feedback["shop/pets/default"].judged == 2


@pytest.mark.parametrize("name", FORMS)
def test_columns_of_scores(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {
            "score_cat": [0.9, 0.1, NAN, NAN, 0.5],
            "score_dog": [0.1, 0.9, 0.5, NAN, 0.5],
            "actual": ["cat", "cat", "cat", None, "cat"],
        }
    )
    FORMS[name](frame, tmp_path / name)
    for source in (tmp_path / name, frame):
        evaluation = evaluate(source)
        assert cells(evaluation) == {("cat", "cat"): 1, ("cat", "dog"): 1}
        # Half a row and two equal scores have no largest one; a row without any is no prediction.
        assert evaluation["data"].predictions == 4
        assert evaluation.events.not_scorable == {"no_maximum": 2}
        assert evaluation.events.says_nothing == 1


def test_rows_without_an_id_are_requests_of_their_own(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("prediction,actual\na,a\na,b\n")
    frame = frame_of(["a"], ["a"])
    evaluation = evaluate([tmp_path / "one.csv", str(tmp_path / "two.csv"), frame])
    assert (evaluation["data"].judged, evaluation["data"].correct) == (5, 3)
    assert evaluation.events.superseded == 0


def test_truth_in_a_table_of_its_own(tmp_path: Path) -> None:
    predictions = pd.DataFrame({"request_id": [1, 2, 3], "prediction": ["a", "b", "a"]})
    # The ids are floats where there is a gap among them, here in a column with another row.
    truth = pd.DataFrame({"request_id": [1.0, 3.0, 4.0, NAN], "actual": ["a", "b", "b", "a"]})
    with pytest.warns(UserWarning, match="row 4 can't be read: the row has no request id"):
        evaluation = evaluate([predictions, truth])
    assert cells(evaluation) == {("a", "a"): 1, ("b", "a"): 1}
    assert evaluation.events.unmatched_feedback == 1
    assert evaluation.events.dead_letters == {"no_id": 1}


def test_a_key_that_only_a_later_line_has(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prediction": "a", "note": "x" * 100}] * 6000 + [{"prediction": "a", "actual": "a"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    evaluation = evaluate(path)
    assert (evaluation["data"].predictions, evaluation["data"].judged) == (6001, 1)


def test_a_column_of_truth_under_another_name_is_told() -> None:
    frame = pd.DataFrame({"prediction": ["a"], "Label": ["a"]})
    with pytest.warns(UserWarning, match="nothing is judged: rename 'Label' to 'actual'"):
        assert evaluate(frame)["data"].judged == 0


def test_of_several_rows_of_a_request_the_last_counts() -> None:
    rows = [{"request_id": "r", "prediction": "a", "actual": each} for each in "abc"]
    assert cells(evaluate(rows)) == {("c", "a"): 1}
    times = ["2026-11-20", "2026-11-22", "2026-11-21"]
    rows = [{**row, "time": time} for row, time in zip(rows, times, strict=True)]
    assert cells(evaluate(rows)) == {("b", "a"): 1}


def test_bad_rows_are_named_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "time,prediction,actual,reward\n"
        "2026-11-20T09:03:59Z,a,a,\nyesterday,a,a,\n1,2\n\n2026-11-20T09:03:59Z,a,a,much\n"
    )
    with pytest.warns(UserWarning, match="row") as told:
        evaluation = evaluate(path)
    assert evaluation.events.dead_letters == {"bad_reward": 1, "bad_shape": 1, "bad_time": 1}
    assert evaluation.events.read == 4
    assert [str(each.message).partition(": ")[2] for each in told] == [
        "row 3 can't be read: 'yesterday' is no time such as 2026-11-20T09:03:59Z; "
        "counted as dead letter bad_time",
        "row 4 can't be read: the row has 2 cells, the header has 4; counted as dead letter bad_shape",
        "row 6 can't be read: reward 'much' is no number up to 1e6; counted as dead letter bad_reward",
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"prediction,actual\n", "it has no rows; a valid one is, for example: cat,dog"),
        ("latin.csv", "prediction,actual\nk\xe4se,a\n".encode("latin-1"), "line 2 is not UTF-8"),
        ("bad.csv", b"time,prediction\nx,a\nx,b\n",
         "none of its 2 rows could be read; a valid one is, for example: 2026-11-20T09:03:59Z,cat"),
        ("bad.jsonl", b'{"prediction": "a", "time": "x"}\n',
         'for example: {"prediction": "cat", "time": "2026-11-20T09:03:59Z"}'),
        ("other.csv", b"id,ts,y_pred,y_true\n1,2,3,4\n",
         "evaluate(frame.rename(columns={'y_pred': 'prediction', 'y_true': 'actual', "
         "'id': 'request_id', 'ts': 'time'}))"),
        ("other.jsonl", b'{"guess": 1}\n', "has the columns guess"),
        ("twice.csv", b"prediction,prediction\n1,2\n", "two columns 'prediction'"),
        ("not.parquet", b"PAR1 no", "can't be read as Parquet"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ProcessorError) as error:
            evaluate(path)
    assert why in str(error.value)
    assert str(path) in str(error.value)


def test_parquet_without_pyarrow_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ProcessorError, match="needs pyarrow: pip install pyarrow"):
        evaluate(tmp_path / "a.parquet")


def response(**members: Any) -> dict[str, Any]:
    """A response of the Open Inference Protocol."""
    output = {"name": "predict", "datatype": "INT64", "shape": [1], "data": [1]}
    return {"model_name": "iris", "outputs": [output], **members}


def test_messages_of_the_open_inference_protocol(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        {"id": "a", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [0.5]}]},
        response(id="a", actual=1),
        response(id="b", actual=0, time="2026-11-20T09:03:59Z"),
        response(id="c", model_name="other"),
        {"request_id": "c", "deployment": "other", "actual": 1},
        response(id="d", outputs=[{"name": "y", "datatype": "INT64", "shape": [2], "data": [1, 0]}],
                 actual=[[1], [1]]),
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    evaluation = evaluate(path)
    assert (evaluation["iris"].predictions, evaluation["iris"].judged) == (4, 2)
    assert (evaluation["other"].judged, evaluation["other"].correct) == (1, 1)
    assert evaluation.events.read == 6
    assert evaluation.events.rows_differ == 1


def test_a_text_under_a_key_of_a_message_is_a_text() -> None:
    rows = [{"inputs": "some text", "outputs": "a", "id": 1, "prediction": "a", "actual": "a"}] * 2
    assert evaluate(rows)["data"].judged == 2
    with pytest.raises(ProcessorError, match="has the columns inputs, outputs"):
        evaluate([{"inputs": "some text", "outputs": "a"}])


def test_a_message_in_a_cell() -> None:
    rows = [{"prediction": response(), "actual": 1}, {"prediction": [0.1, 0.9], "actual": 1}]
    assert cells(evaluate(rows)) == {("1", "1"): 2}


def test_numpy_and_odd_values() -> None:
    values = [np.int64(3), np.float32(3), Decimal(3), b"3", "3", np.str_("3"), np.array([3])]
    frame = frame_of(pd.Series(values, dtype=object), [3] * len(values))
    assert cells(evaluate(frame)) == {("3", "3"): len(values)}
    dates = [date(2026, 1, 1), pd.Timestamp("2026-01-01").date()]
    assert cells(evaluate(frame_of(dates, ["2026-01-01"] * 2))) == {("2026-01-01", "2026-01-01"): 2}
    bins = pd.cut([1, 5], [0, 3, 6])
    assert cells(evaluate(frame_of(bins, bins))) == {
        ("(0, 3]", "(0, 3]"): 1, ("(3, 6]", "(3, 6]"): 1
    }  # fmt: skip


@pytest.mark.parametrize(
    "cell",
    [
        "2026-11-20T09:03:59Z", "2026-11-20T10:03:59+01:00", "2026-11-20 09:03:59",
        "2026-11-20T09:03:59+00", 1795165439, 1795165439.0, 1795165439000, "1795165439000000",
        1795165439000000000, datetime(2026, 11, 20, 9, 3, 59),
        datetime(2026, 11, 20, 9, 3, 59, tzinfo=UTC), pd.Timestamp("2026-11-20 09:03:59"),
        np.datetime64("2026-11-20T09:03:59"),
    ],
)  # fmt: skip
def test_times(cell: object) -> None:
    assert read_time(cell) == 1795165439000000000


@pytest.mark.parametrize("cell", ["yesterday", "20/11/2026", True, -5, "1960-01-01", 1e300, [1]])
def test_what_is_no_time(cell: object) -> None:
    with pytest.raises(ValueError, match=r"is no time|is not between"):
        read_time(cell)


def test_choice_of_columns() -> None:
    names = ["id", "p", "q", "truth", "arm"]
    chosen = choose(names, Columns("", "truth", ("p=a", "q"), deployment="arm"), "x.csv")
    assert chosen.scores == (("p", "a"), ("q", "q"))
    assert chosen.columns[7] == "arm"
    assert choose(names, Columns(deployment="mine"), "x.csv").deployment == "mine"
    with pytest.raises(ProcessorError, match="no column 'prob'"):
        choose(names, Columns(scores=("prob=a",)), "x.csv")
    assert guess(["request_id", "time", "prediction", "label"]) == (
        "--predicted prediction --actual label"
    )
