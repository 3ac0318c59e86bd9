"""The backfill: each sample is compared with a count of the events, and read by a real Prometheus."""

import json
import math
import random
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND, format_time, parse_time
from processor.publish.exposition import Exposition
from processor.publish.families import Row
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from tests.support.reports.command import output_of, processor
from tests.support.reports.traffic import HOSTILE, START, event, label, traffic, write
from tests.support.scrape_parser import parse_openmetrics
from tests.support.servers.process import ServerProcess, free_port

HOUR = 3600
BASE = START // SECOND
SIZES = {"5m": (60, 5), "1h": (60, 60), "7d": (HOUR, 168), "40d": (86400, 40)}


class Item(NamedTuple):
    """A prediction of one item: its time and that of its feedback (None without any), in seconds."""

    time: float
    judged: float | None
    right: bool


def items_of(events: Iterable[dict[str, Any]]) -> dict[str, list[Item]]:
    """The items of each predictor, by an independent join on the request id."""
    answers: dict[str, list[tuple[str, float, str]]] = {}
    truths: dict[str, tuple[float, str]] = {}
    for each in events:
        headers, data = each["headers"], each["data"]
        at = (parse_time(headers["ce-time"]) or 0) / SECOND
        request = headers["ce-requestid"]
        if "truth" in data:
            truths[request] = at, data["truth"]["data"]["ndarray"][0]
        else:
            answers.setdefault(headers["ce-endpoint"], []).append(
                (request, at, data["data"]["ndarray"][0])
            )
    return {
        predictor: [
            Item(at, truths[request][0], truths[request][1] == answer)
            if request in truths
            else Item(at, None, False)
            for request, at, answer in given
        ]
        for predictor, given in answers.items()
    }


def expected(items: list[Item], window: str, by: str, at: float) -> dict[str, float]:
    """The counts of a window (counting rule 16) at a time, from the items up to then."""

    def inside(moment: float | None) -> bool:
        if moment is None or moment > at:
            return False
        if window == "all":
            return True
        size, length = SIZES[window]
        return at // size - length < moment // size <= at // size

    judged = [
        item
        for item in items
        if item.judged is not None and inside(item.time if by == "request" else item.judged)
    ]
    found: dict[str, float] = {
        "model_judged": len(judged),
        "model_correct": sum(item.right for item in judged),
    }
    if judged:
        found["model_accuracy_ratio"] = found["model_correct"] / len(judged)
    if by == "request":
        found["model_predictions"] = sum(inside(item.time) for item in items)
    return found


def samples_of(texts: Iterable[str]) -> dict[tuple[str, str, str, str, float], float]:
    """The samples of families without further labels, by family, predictor, window, basis and time."""
    found = {}
    for text in texts:
        assert text.endswith("# EOF\n")
        # Fails if a family or a series is not contiguous, or not in the order of time.
        for family in parse_openmetrics(text):
            assert family.type == "gauge"
            for sample in family.samples:
                if len(sample.labels) == 6:
                    labels = sample.labels
                    key = (
                        sample.name, labels["predictor"], labels["window"], labels["by"],
                        float(sample.timestamp or 0),
                    )  # fmt: skip
                    assert key not in found
                    found[key] = sample.value
    return found


@pytest.mark.parametrize(
    ("step", "windows"), [("30s", "5m,all"), ("7m", "5m,1h,all"), ("12h", "1h,7d,40d,all")]
)
def test_every_sample_is_what_the_events_add_up_to(tmp_path: Path, step: str, windows: str) -> None:
    hours = {"30s": 0.7, "7m": 16.0, "12h": 1300.0}[step]
    seconds = {"30s": 30, "7m": 420, "12h": 12 * HOUR}[step]
    events = [
        *traffic(120, hours, ("a", "b"), shadow=0.5, delay=hours * 500),
        # A time exactly on a minute and a step belongs to the sample of that time.
        event("response", "on-time", 840, label("a")),
        event("feedback", "on-time", 1260, {"truth": label("b")}),
    ]
    path = write(tmp_path / "events.ndjson", events)
    text = output_of("replay", path, "--format", "openmetrics", "--step", step, windows=windows)
    found = samples_of([text])
    items = items_of(events)
    times = [
        moment for each in items.values() for item in each for moment in (item.time, item.judged)
        if moment is not None
    ]  # fmt: skip
    first, last = min(times), max(times)
    wanted = {}
    for tick in range(math.ceil(first / seconds), math.ceil(last / seconds) + 1):
        at = tick * seconds
        for predictor, given in items.items():
            if min(item.time for item in given) > at:
                continue
            for window in windows.split(","):
                for by in ("request", "feedback"):
                    for name, value in expected(given, window, by, at).items():
                        wanted[name, predictor, window, by, float(at)] = value
    names = {name for name, *_ in wanted}
    assert {key: value for key, value in found.items() if key[0] in names} == wanted


def test_from_and_to_choose_samples_and_windows_look_back(tmp_path: Path) -> None:
    events = list(traffic(100, 10, ("a", "b")))
    path = write(tmp_path / "events.ndjson", events)
    start, end = BASE + 4 * HOUR, BASE + 6 * HOUR
    text = output_of(
        "replay", path, "--format", "openmetrics", "--step", "10m",
        "--from", format_time(start * SECOND), "--to", format_time(end * SECOND),
    )  # fmt: skip
    found = samples_of([text])
    assert {key[-1] for key in found} == set(range(start + 600, end + 1, 600))
    (given,) = items_of(events).values()
    for window in ("1h", "all"):
        for at in (start + 600, end):
            for name, value in expected(given, window, "request", at).items():
                assert found[name, "default", window, "request", float(at)] == value
    # The counts of all time at the end equal those of a replay up to there.
    (model,) = json.loads(output_of("replay", path, "--to", format_time(end * SECOND)))["models"]
    assert (
        found["model_accuracy_ratio", "default", "all", "request", float(end)] == model["accuracy"]
    )


def test_bases_cells_and_classes_are_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", traffic(60, 3, ("a", "b", "c")))
    command = ("replay", path, "--format", "openmetrics", "--step", "1h")
    text = output_of(*command, windows="1h,all", cell_windows="1h", max_classes="2")
    cells = [line for line in text.splitlines() if line.startswith("model_confusion_cells{")]
    assert cells
    assert all('window="1h"' in line for line in cells)
    assert set(re.findall(r'actual="(\w+)"', text)) == {
        "other",
        *set(re.findall(r'class="(\w+)"', text)),
    }
    assert 'by="feedback"' in text
    assert 'by="feedback"' not in output_of(*command, metrics_by="request")
    assert 'by="request"' not in output_of(*command, "--by", "feedback")


def valued_traffic() -> Iterator[dict[str, Any]]:
    """The events of models that answer with probabilities of three classes, of two, and with numbers."""
    dice = random.Random(5)
    for i in range(60):
        weights = [dice.random() for _ in range(3)]
        scores = [weight / sum(weights) for weight in weights]
        price = dice.uniform(0, 50) + 0.25
        answers: dict[str, tuple[Any, Any]] = {
            "pets": ([scores], dice.choice("abc")),
            "spam": ([dice.uniform(0.01, 0.99)], str(dice.randrange(2))),
            "prices": ([price + dice.gauss(0, 2)], price),
        }
        for name, (answer, truth) in answers.items():
            given: dict[str, Any] = {"ndarray": answer}
            if name == "pets":
                given["names"] = ["a", "b", "c"]
            request = f"{name}{i}"
            yield event("response", request, i * 60, {"data": given}, deployment=name)
            if i % 3:
                said = {"truth": {"data": {"ndarray": [truth]}}}
                yield event("feedback", request, i * 60 + 90, said, deployment=name)


@pytest.mark.parametrize(
    "events",
    [lambda: traffic(120, 2, HOSTILE, shadow=0.5, delay=600), valued_traffic],
    ids=["labels", "values"],
)
def test_the_last_sample_is_what_metrics_shows(
    events: Callable[[], Iterator[dict[str, Any]]], tmp_path: Path, promtool: str
) -> None:
    """The series of the last sample equal those of /metrics for the same counts."""
    path = write(tmp_path / "events.ndjson", events())
    fold = ReplayFold(ModelRules(), Selection())
    for chunk in path.read_bytes().splitlines(keepends=True):
        fold.add_lines(chunk, 1)
    exposition = Exposition(4)
    for by in ("request", "feedback"):
        for key, counts in fold.counts(Selection(by)).items():
            exposition.add(Row(key, "all", by, counts, True))
    live = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(exposition.text() + "# EOF\n")
        for sample in family.samples
        if not family.name.startswith("processor_")
    }
    text = output_of(
        "replay", path, "--format", "openmetrics", "--step", "1h", windows="all", max_classes="4"
    )
    samples = [sample for family in parse_openmetrics(text) for sample in family.samples]
    last = max(float(sample.timestamp or 0) for sample in samples)
    assert live == {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for sample in samples
        if float(sample.timestamp or 0) == last
    }
    if events is valued_traffic:
        assert {"model_roc_auc", "model_log_loss", "model_measured"} <= {name for name, _ in live}
    (tmp_path / "all.om").write_text(text, encoding="utf-8")
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "all.om", "blocks"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_a_folder_gets_files_of_two_hours(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", traffic(80, 9, ("a", "b")))
    command = ("replay", path, "--format", "openmetrics", "--step", "7m")
    whole = output_of(*command)
    assert output_of(*command, "--output", f"{tmp_path}/backfill/") == ""
    files = sorted((tmp_path / "backfill").iterdir())
    assert files[0].name == "model-metrics-2026-03-01T000000Z.om"
    parts = [samples_of([file.read_text()]) for file in files]
    for file, part in zip(files, parts, strict=True):
        match = re.search(r"T(\d\d)0000Z", file.name)
        assert match
        begin = BASE + int(match[1]) * HOUR
        assert {begin} == {key[-1] // (2 * HOUR) * 2 * HOUR for key in part}
    joined: dict[Any, float] = {}
    for part in parts:
        assert not joined.keys() & part.keys()
        joined |= part
    assert joined == samples_of([whole])


def test_the_last_three_hours_are_refused(tmp_path: Path) -> None:
    start = time.time_ns() - 5 * HOUR * SECOND
    path = write(tmp_path / "events.ndjson", traffic(50, 4, ("a", "b"), answered=0, start=start))
    command = ("replay", path, "--format", "openmetrics")
    ran = processor(*command, "--output", tmp_path / "out.om")
    assert ran.returncode == 2
    assert "last 3 hours" in ran.stderr.splitlines()[-1]
    assert not (tmp_path / "out.om").exists()
    assert samples_of([output_of(*command, "--recent")])
    remedy = re.search(r"--to (\S+)", ran.stderr)
    assert remedy
    assert samples_of([output_of(*command, "--to", remedy[1])])


def test_a_time_far_away_is_refused_with_a_remedy(tmp_path: Path) -> None:
    events = [
        event("response", "now", 0, label("a")),
        event("response", "1985", 0, label("a"), start=15 * 365 * 86400 * SECOND),
    ]
    path = write(tmp_path / "events.ndjson", events)
    for output in ((), ("--output", f"{tmp_path}/backfill/")):
        ran = processor("replay", path, "--format", "openmetrics", *output)
        assert ran.returncode == 2
        assert "--from" in ran.stderr.splitlines()[-1]
    ran = processor("replay", path, "--format", "openmetrics", "--step", "soon")
    assert ran.returncode == 2
    assert "'soon' is not a duration" in ran.stderr


def test_nothing_to_say_is_an_empty_file(tmp_path: Path) -> None:
    path = write(tmp_path / "events.ndjson", traffic(10, 1, ("a", "b")))
    text = output_of("replay", path, "--format", "openmetrics", "--from", "2030-01-01T00:00:00Z")
    assert text == "# EOF\n"


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Any]:
    """A function that starts Prometheus on a data folder and returns a function for range queries."""
    servers = []

    def start(data: Path) -> Any:
        program = shutil.which("prometheus")
        assert program, "prometheus is not on PATH: install the package 'prometheus'"
        config = tmp_path / "prometheus.yml"
        config.write_text("scrape_configs: []\n")
        address = f"127.0.0.1:{free_port()}"
        server = ServerProcess(
            [
                program, f"--config.file={config}", f"--storage.tsdb.path={data}",
                f"--web.listen-address={address}",
            ],
            tmp_path, tmp_path / "prometheus.log",
        )  # fmt: skip
        servers.append(server)

        def get(path: str, **query: object) -> bytes:
            url = f"http://{address}{path}?{urllib.parse.urlencode(query)}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                body: bytes = answer.read()
            return body

        def ready() -> bool:
            try:
                return b"Ready" in get("/-/ready")
            except OSError:
                return False

        server.wait_ready(ready, 60)

        def query_range(query: str, start: int, end: int, step: int) -> list[Any]:
            answer = get("/api/v1/query_range", query=query, start=start, end=end, step=step)
            result: list[Any] = json.loads(answer)["data"]["result"]
            return result

        return query_range

    yield start
    for server in servers:
        server.stop()


def test_prometheus_serves_the_past_day(tmp_path: Path, prometheus: Any, promtool: str) -> None:
    step = 300
    end = (int(time.time()) - 4 * HOUR) // step * step
    start = end - 24 * HOUR
    events = list(traffic(2000, 26, ("a", "b", "c"), start=(start - 2 * HOUR) * SECOND))
    path = write(tmp_path / "events.ndjson", events)
    output_of(
        "replay", path, "--format", "openmetrics", "--step", "5m", "--output", f"{tmp_path}/om/",
        "--from", format_time(start * SECOND), "--to", format_time(end * SECOND),
        windows="1h,all",
    )  # fmt: skip
    files = sorted((tmp_path / "om").iterdir())
    assert len(files) in (12, 13)
    data = tmp_path / "data"
    for file in files:
        ran = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", str(file), str(data)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    query_range = prometheus(data)
    (given,) = items_of(events).values()
    for window in ("1h", "all"):
        labels = f'{{deployment_namespace="shop",deployment="pets",window="{window}",by="request"}}'
        (series,) = query_range(f"model_accuracy_ratio{labels}", start + step, end, step)
        curve = {float(at): float(value) for at, value in series["values"]}
        assert curve == {
            float(at): pytest.approx(expected(given, window, "request", at)["model_accuracy_ratio"])
            for at in range(start + step, end + 1, step)
        }
    assert query_range("count(model_confusion_cells)", end, end, step)[0]["values"][0][1] == "18"
