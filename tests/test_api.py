"""The public Python API, as a notebook uses it."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from statsmodels.stats.contingency_tables import mcnemar

import processor
from processor import ConfusionMatrix, ProcessorError, compare, evaluate
from processor.domain.results import ModelResult
from tests.support.reports.command import processor as command

DATA = Path(__file__).parent / "data" / "seed-experiment"
EVENTS = DATA / "events.ndjson"


def replay(*arguments: str | Path) -> dict[str, Any]:
    """The JSON of ``processor replay --nowcast``, which exits with 1 where no model matches."""
    by_request = "feedback" not in arguments
    ran = command("replay", *arguments, *(["--nowcast"] if by_request else []))
    assert ran.returncode in (0, 1), ran.stderr  # 1: nothing matches, said beside an empty result
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def wine() -> pd.DataFrame:
    """The true class and the predictions of two models for one test set."""
    features, classes = load_wine(return_X_y=True)
    train, test, y_train, y_test = train_test_split(
        features, classes, test_size=0.5, random_state=0
    )
    small = slice(0, 2)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(train[:, small], y_train)
    # Without the scaler it would look for seconds.
    line = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, y_train)
    return pd.DataFrame(
        {"actual": y_test, "tree": tree.predict(test[:, small]), "line": line.predict(test)}
    )


def of(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame[["actual", column]].rename(columns={column: "prediction"})


def test_nothing_else_is_public() -> None:
    names = ["ConfusionMatrix", "JudgedItem", "ProcessorError", "compare", "evaluate"]
    assert processor.__all__ == names
    assert {*processor.__all__} <= {*dir(processor)}
    with pytest.raises(AttributeError, match="no attribute 'replay_everything'"):
        processor.replay_everything  # type: ignore[attr-defined]  # noqa: B018


def test_evaluating_a_file_imports_no_client() -> None:
    """The clients of Kafka and Elasticsearch take longer to import than a small file to evaluate."""
    script = (
        "import sys, processor\n"
        "clients = ('faust', 'aiokafka', 'elasticsearch', 'aiohttp', 'sqlite3', 'pandas')\n"
        "def imported(*names): return [name for name in names if name in sys.modules]\n"
        "assert not imported('processor.api', *clients), 'import processor'\n"
        "from processor import evaluate\n"
        "assert not imported('yaml', *clients), imported('yaml', *clients)\n"
        f"evaluate([{{'prediction': 1, 'actual': 1}}]), evaluate({str(EVENTS)!r})\n"
        "assert not imported(*clients), imported(*clients)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--by", "feedback"], {"by": "feedback"}),
        (["--from", "2026-11-20T10:00:00Z", "--to", "2026-11-20T11:00:00Z"],
         {"start": "2026-11-20T10:00:00Z", "end": datetime(2026, 11, 20, 11, tzinfo=UTC)}),
        (["--as-of", "2026-11-20T12:00:00Z"], {"as_of": datetime(2026, 11, 20, 12)}),
        (["--deployment", "sklearn", "--namespace", "seldon"],
         {"deployment": "sklearn", "namespace": "seldon"}),
        (["--deployment", "other"], {"deployment": "other"}),
    ],
)  # fmt: skip
def test_it_is_the_json_of_replay(arguments: list[str], options: dict[str, Any]) -> None:
    assert evaluate(EVENTS, **options).to_dict() == replay(EVENTS, *arguments)


def test_a_models_file_or_what_stands_in_it(tmp_path: Path) -> None:
    content = {"models": [{"match": "*/*", "labels": {"t:0": "setosa"}}]}
    path = tmp_path / "models.yaml"
    path.write_text(json.dumps(content))
    wanted = replay(EVENTS, "--models", path)
    assert "setosa" in wanted["models"][0]["classes"]
    assert evaluate(EVENTS, models=path).to_dict() == wanted
    assert evaluate(EVENTS, models=content).to_dict() == wanted


def test_every_kind_of_source(tmp_path: Path) -> None:
    wanted = evaluate(EVENTS).to_dict()
    events = [json.loads(line) for line in EVENTS.open()]
    assert evaluate(str(EVENTS)).to_dict() == wanted
    assert evaluate(events).to_dict() == wanted
    assert evaluate(each for each in events).to_dict() == wanted
    packed = tmp_path / "events.ndjson.gz"
    packed.write_bytes(gzip.compress(EVENTS.read_bytes()))
    twice = evaluate([EVENTS, packed]).to_dict()
    assert twice["models"] == wanted["models"]
    assert twice["events"]["duplicates"] > 0


def test_bodies_of_events_may_be_bytes() -> None:
    headers = {
        "ce-type": "io.seldon.serving.inference.response", "ce-requestid": "r",
        "ce-time": "2026-11-20T09:03:59Z", "ce-inferenceservicename": "m", "ce-namespace": "n",
    }  # fmt: skip
    evaluation = evaluate([{"headers": headers, "data": b'{"data": {"ndarray": [1]}}'}])
    assert evaluation["m"].predictions == 1


def test_fields_are_attributes() -> None:
    evaluation = evaluate(EVENTS)
    model = evaluation["sklearn"]
    assert (model.predictions, model.judged, model.correct) == (100, 63, 46)
    assert model.classes["t:0"].support == 15
    assert isinstance(model, ModelResult)
    assert evaluation.models == [model]
    assert evaluation["seldon/sklearn/default/classifier"] is model
    assert (evaluation.by, evaluation.start, evaluation.events.read) == ("request", None, 263)
    assert "accuracy 0.7302" in repr(evaluation)
    assert "46 correct of 63 judged" in str(evaluation)


def test_a_name_that_is_none_or_many() -> None:
    rows = [
        {"prediction": 1, "deployment": "churn", "namespace": space, "predictor": arm}
        for space in ("a", "b")
        for arm in ("main", "canary")
    ]
    evaluation = evaluate(rows)
    with pytest.raises(
        ProcessorError, match=r"no model is named 'chrn': there is 'a/churn/canary'"
    ):
        evaluation["chrn"]
    with pytest.raises(
        KeyError, match=r"2 models are named 'a/churn': there is 'a/churn/canary', "
    ):
        evaluation["a/churn"]
    assert evaluation["a/churn/main"].predictions == 1
    with pytest.raises(ProcessorError, match="name one model"):
        evaluation.confusion_frame()
    with pytest.raises(ProcessorError, match="there is no model at all"):
        evaluate([{"actual": 1}])["x"]


def test_frames_against_scikit_learn(wine: pd.DataFrame) -> None:
    evaluation = evaluate(of(wine, "tree"))
    truth, guess = wine["actual"], wine["tree"]
    frame = evaluation.to_frame()
    assert len(frame) == 1
    row = frame.iloc[0]
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, guess))
    for mean in ("macro", "micro", "weighted"):
        scores = metrics.precision_recall_fscore_support(truth, guess, average=mean)
        found = [row[f"{score}_{mean}"] for score in ("precision", "recall", "f1")]
        assert found == pytest.approx(scores[:3])
    matrix = evaluation.confusion_frame("data")
    assert matrix.to_numpy().tolist() == metrics.confusion_matrix(truth, guess).tolist()
    assert list(matrix.index) == list(matrix.columns) == ["0", "1", "2"]
    assert matrix.index.name == "actual"
    pd.testing.assert_frame_equal(evaluation.confusion_frame(), matrix)


def test_a_frame_has_what_only_some_models_have() -> None:
    numbers = pd.DataFrame({"prediction": [1.5, 2.5], "actual": [1.0, 2.5], "deployment": "price"})
    scores = pd.DataFrame(
        {"score_a": [0.5, 0.2], "score_b": [0.3, 0.7], "score_c": [0.2, 0.1],
         "actual": ["b", "b"], "deployment": "kind"}
    )  # fmt: skip
    evaluation = evaluate([numbers, scores])
    frame = evaluation.to_frame().set_index("deployment")
    assert frame.loc["kind", "top_k_accuracy.2"] == 1
    quantile = evaluation["price"].absolute_error_quantiles["0.99"]
    assert 0.5 <= quantile < 0.53
    assert frame.loc["price", "absolute_error_quantiles.0.99"] == quantile
    assert frame["top_k_accuracy.2"].isna().to_dict() == {"price": True, "kind": False}
    assert "nowcast.accuracy" in frame


def test_a_confusion_matrix_of_its_own(wine: pd.DataFrame) -> None:
    truth, guess = wine["actual"], wine["tree"]
    matrix = ConfusionMatrix.from_pairs(zip(truth, guess, strict=True))
    assert np.array(matrix.counts).tolist() == metrics.confusion_matrix(truth, guess).tolist()
    assert matrix == evaluate(of(wine, "tree"))["data"].matrix
    assert matrix.scores.mcc == pytest.approx(metrics.matthews_corrcoef(truth, guess))
    assert matrix.total == len(wine)
    gaps = ConfusionMatrix.from_pairs([(None, 1), (float("nan"), 1), (1.0, True), ("1", 0.7)])
    assert (gaps.labels, gaps.counts) == (("1",), ((2,),))


def test_models_of_two_evaluations_compared(wine: pd.DataFrame) -> None:
    tree, line = evaluate(of(wine, "tree")), evaluate(of(wine, "line"))
    compared = compare(tree, line)
    (found,) = compared
    right = {name: (wine[name] == wine["actual"]).to_numpy() for name in ("tree", "line")}
    assert found.difference == pytest.approx(right["line"].mean() - right["tree"].mean())
    one_way, other_way = (
        int((right["tree"] & ~right["line"]).sum()), int((right["line"] & ~right["tree"]).sum())
    )  # fmt: skip
    paired = found.tests[1]
    assert (paired.only_first, paired.only_second) == (one_way, other_way)
    exact = one_way + other_way < 25
    wanted = mcnemar([[0, one_way], [other_way, 0]], exact=exact, correction=True)
    assert paired.p_value == pytest.approx(wanted.pvalue)
    assert compare(tree["data"], line["data"])[0].difference == found.difference
    assert compared.to_dict()["not_compared"] == []
    assert "two-proportion z-test" in str(compared)
    assert "Comparison" in compared._repr_html_()


def test_rows_of_different_requests_are_no_pairs(wine: pd.DataFrame) -> None:
    tree, line = of(wine, "tree"), of(wine, "line").iloc[::-1]
    (found,) = compare(evaluate(tree), evaluate(line))
    assert [test.pairs for test in found.tests] == [None]


def test_two_periods_compared_are_those_of_the_command() -> None:
    noon = "2026-11-20T10:00:00Z"
    before, after = evaluate(EVENTS, end=noon), evaluate(EVENTS, start=noon)
    (wanted,) = replay_compared("--from", noon, "--compare", f"/{noon}")
    (found,) = compare(before, after).to_dict()["comparisons"]
    for each in (wanted, found):
        for side in (each["first"], each["second"]):
            del side["title"], side["result"]["nowcast"], side["result"]["drift"]
    assert found == wanted


def replay_compared(*arguments: str) -> list[dict[str, Any]]:
    text = command("report", EVENTS, "--format", "json", *arguments).stdout
    found: list[dict[str, Any]] = json.loads(text)["comparisons"]
    return found


def test_predictors_of_one_evaluation_compared() -> None:
    rows: list[dict[str, Any]] = []
    for i in range(40):
        for arm, guess in (("main", i % 3), ("canary", i % 2)):
            rows.append({"request_id": i, "deployment": "d", "predictor": arm, "prediction": guess,
                         "actual": i % 2})  # fmt: skip
    evaluation = evaluate(rows)
    (found,) = compare(evaluation["/d/main"], evaluation["/d/canary"])
    assert found.second.result.accuracy == 1
    assert found.tests[1].pairs == 40
    assert found.tests[1].only_second == 40 - evaluation["/d/main"].correct
    compared = compare(evaluation, evaluate(rows[::2]))
    assert len(compared) == 1
    assert compared.not_compared == ("/d/canary",)


def test_inside_a_running_loop(wine: pd.DataFrame) -> None:
    async def cell() -> dict[str, Any]:
        return evaluate(of(wine, "tree")).to_dict()

    assert asyncio.run(cell()) == evaluate(of(wine, "tree")).to_dict()


def test_a_generator_is_read_once() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for i in range(2500):
            yield {"prediction": i % 2, "actual": 1}

    assert evaluate(rows())["data"].correct == 1250


def test_the_page_of_a_notebook() -> None:
    page = evaluate(EVENTS)._repr_html_()
    assert page.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "Accuracy over time" in page


def test_errors_name_the_problem() -> None:
    for source, options, why in (
        (EVENTS, {"by": "rows"}, "use 'request' or 'feedback'"),
        (EVENTS, {"start": "yesterday"}, "start: 'yesterday' is not a time"),
        (EVENTS, {"start": "2026-11-21", "end": "2026-11-20"}, "is not before end"),
        (EVENTS, {"models": {"models": [{"output": "label"}]}}, "has no match"),
        (7, {}, "source is int"),
        ({"prediction": 1}, {}, "source is dict"),
        ([EVENTS, 7], {}, "one of the sources is int"),
        ("kafka:topic", {}, "PROCESSOR_BROKER"),
        ("/no/such/file.csv", {}, "/no/such/file.csv"),
        (iter([1]), {}, "item 1 is int, not a dict"),
        (pd.DataFrame({"y_pred": [1]}), {}, "has the columns y_pred"),
    ):  # fmt: skip
        with pytest.raises(ProcessorError, match=why):
            evaluate(source, **options)


def test_without_pandas_it_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = evaluate(EVENTS)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ProcessorError, match="needs pandas: pip install pandas"):
        evaluation.to_frame()
