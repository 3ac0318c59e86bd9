"""The command line: exit codes and messages."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.reports.command import run_command
from tests.support.workers import DATA, assert_equal, expected


def _run(*args: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return run_command(args, {**os.environ, **env})


@pytest.mark.parametrize("folder", [".", "notebook-types"])
def test_replay_equals_the_contract(folder: str) -> None:
    ran = _run("replay", DATA / folder / "events.ndjson", "--format", "json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["by"] == "request"
    assert_equal(found["models"], [expected()])
    assert found["events"]["read"] == 263


def _literal_loop(path: Path) -> None:
    """The loop of the notebook: correct predictions get a reward only, wrong ones the truth ``t:2``,
    which is the predicted label too."""
    names = ["t:0", "t:1", "t:2"]
    lines = []

    def add(number: int, kind: str, body: dict[str, Any]) -> None:
        headers = {
            "ce-id": f"{kind}-{number}",
            "ce-type": f"io.seldon.serving.{kind}",
            "ce-requestid": f"r{number}",
            "ce-time": f"2026-11-20T09:{number % 60:02d}:{30 if kind == 'feedback' else 10}Z",
            "ce-inferenceservicename": "sklearn",
            "ce-namespace": "seldon",
            "ce-endpoint": "default",
            "ce-modelid": "classifier",
            "content-type": "application/json",
        }
        lines.append(json.dumps({"headers": headers, "data": body}))

    for number in range(63):
        scores = [0.0006985194531162841, 0.003668039039435755, 0.9956334415074478]
        add(number, "inference.response", {"data": {"names": names, "ndarray": [scores]}})
        if number < 46:
            add(number, "feedback", {"reward": True, "truth": {"meta": {"tags": {"user": "a"}}}})
        else:
            truth = {"data": {"names": names, "ndarray": [[0, 0, 1]]}}
            add(number, "feedback", {"reward": False, "truth": truth})
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("judge_by", "correct"), [("truth", 63), ("reward", 46)])
def test_the_notebooks_literal_loop(tmp_path: Path, judge_by: str, correct: int) -> None:
    events, rules = tmp_path / "loop.ndjson", tmp_path / "models.yaml"
    _literal_loop(events)
    rules.write_text(f"models:\n  - match: seldon/*\n    judge_by: {judge_by}\n")
    ran = _run("replay", events, "--models", rules)
    assert ran.returncode == 0, ran.stderr
    (model,) = json.loads(ran.stdout)["models"]
    assert (model["judged"], model["correct"]) == (63, correct)
    assert model["disagreements"] == 17
    assert model["reward_mean"] == pytest.approx(46 / 63)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROCESSOR_BROKER", "localhost:9092"),
        ("PROCESSOR_WINDOWS", "90s"),
        ("PROCESSOR_HORIZON", "soon"),
        ("PROCESSOR_METRICS_PORT", "99999"),
        ("PROCESSOR_TOPICS", "a b"),
        ("PROCESSOR_MISSPELT", "x"),
        ("PROCESSOR_ARCHIVE", "http://elasticsearch:9200"),
        ("PROCESSOR_KAFKA_CA", "/etc/ca.pem"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    ran = _run("run", **{name: value})
    assert ran.returncode == 2
    assert name in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "Traceback" not in ran.stderr


def test_a_secret_is_never_shown() -> None:
    ran = _run(
        "run",
        PROCESSOR_KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        PROCESSOR_KAFKA_SASL_PASSWORD="hunter2",
    )
    assert ran.returncode == 2
    assert "PROCESSOR_KAFKA_SASL_USER" in ran.stderr
    assert "hunter2" not in ran.stderr + ran.stdout


@pytest.mark.parametrize("name", ["PROCESSOR_ARCHIVE", "PROCESSOR_BROKER"])
def test_a_login_in_an_address_is_refused_and_not_shown(name: str) -> None:
    scheme = "kafka" if name == "PROCESSOR_BROKER" else "http"
    ran = _run("run", **{name: f"{scheme}://user:hunter2@host:9200"})
    assert ran.returncode == 2
    assert name in ran.stderr
    assert "hunter2" not in ran.stderr + ran.stdout


def test_options_of_ours_are_not_those_of_faust() -> None:
    """Faust reads ``--loop`` from the command line when it is imported."""
    ran = _run("send", "missing.ndjson", "--to", "http://127.0.0.1:1/", "--loop")
    assert ran.returncode == 1
    assert "missing.ndjson" in ran.stderr
    ran = _run("demo", "--loop")
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_output_keeps_a_device_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    ran = _run("replay", DATA / "events.ndjson", "--output", pipe, "--format", "text")
    assert ran.returncode == 0, ran.stderr
    text, _ = reader.communicate(timeout=60)
    assert "events: read 263" in text
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("replay",), 2, "SOURCE"),
        (("replay", "missing.ndjson"), 1, "missing.ndjson"),
        (("replay", "x", "--from", "tomorrow"), 2, "yesterday or today (the same), now, or -24h"),
        (("replay", "x", "--last", "1 day"), 2, "'1 day' is not a duration such as 5m, 12h or 7d"),
        (
            ("report", "x", "--last", "24h", "--to", "now"),
            2,
            "--last takes the place of --from and",
        ),
        (("replay", "x", "--compare", "a/b"), 2, "compare"),
        (("report", "x", "--compare", "a/"), 2, "'a' is not a time: write 2026-11-20T00:00:00Z"),
        (("dead-letters", "list", "--since", "2026-11-31"), 2, "'2026-11-31' is not a time"),
        (("reply", "x"), 2, "Did you mean replay?"),
        (("dead-letters", "lst"), 2, "Did you mean list?"),
        (("send", "missing.ndjson", "--to", "ftp://x"), 2, "ftp://x"),
        (("nonsense",), 2, "nonsense"),
        (("send", "x", "--to", "http://127.0.0.1:1/", "--rate", "0"), 2, "--rate"),
        (("send", os.devnull, "--to", "http://127.0.0.1:1/"), 1, "holds no events"),
    ],
)
def test_usage_errors_say_what_to_do(args: tuple[str, ...], code: int, message: str) -> None:
    ran = _run(*args)
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_the_last_hours_are_those_before_now(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    headers = {
        "ce-type": "io.seldon.serving.inference.response",
        "ce-inferenceservicename": "pets",
        "ce-namespace": "vision",
    }
    lines = [
        {
            "headers": headers
            | {"ce-requestid": f"r{hours}", "ce-time": f"{now - timedelta(hours=hours):%FT%TZ}"},
            "data": {"strData": "cat"},
        }
        for hours in (1, 2, 60)
    ]
    path = tmp_path / "events.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    for options, count in (("--last", "24h"), 2), (("--to", "yesterday"), 1):
        ran = _run("replay", path, *options)
        assert json.loads(ran.stdout)["models"][0]["predictions"] == count


@pytest.mark.parametrize(
    ("command", "closed", "message"),
    [
        ("replay -", "<&-", "standard input is closed"),
        ("send - --to http://127.0.0.1:1/", "<&-", "standard input is closed"),
        (f"replay {DATA}/events.ndjson", ">&-", "standard output is closed"),
    ],
)
def test_a_closed_stream_is_named(command: str, closed: str, message: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m processor {command} {closed}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"processor: {message}")
    assert "Error" not in ran.stderr
    # Without a standard error, messages are dropped.
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m processor replay {DATA}/events.ndjson 2>&-"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(ran.stdout)["events"]["read"] == 263


def test_a_day_is_a_period() -> None:
    day = ("--from", "2026-11-20", "--to", "2026-11-21")
    ran = _run("replay", DATA / "events.ndjson", *day)
    found = json.loads(ran.stdout)
    assert (found["from"], found["to"]) == ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
    assert_equal(found["models"], [expected()])
    ran = _run("replay", DATA / "events.ndjson", "--from", "-24h", "--to", "1h", "--as-of", "-1d")
    found = json.loads(ran.stdout)
    ends = [datetime.fromisoformat(found[name]) for name in ("from", "to")]
    assert timedelta(hours=22.9) < ends[1] - ends[0] < timedelta(hours=23.1)


def test_an_unreachable_broker_is_told_in_words() -> None:
    for command in (("replay", "kafka:t"), ("send", DATA / "events.ndjson", "--to", "kafka:t")):
        ran = _run(*command, PROCESSOR_BROKER="kafka://127.0.0.1:1")
        assert ran.returncode == 1
        assert ran.stderr.count("\n") == 1
        assert "127.0.0.1:1 " in ran.stderr
        assert "connection refused" in ran.stderr
        assert "KafkaConnectionError" not in ran.stderr
        assert "AddressFamily" not in ran.stderr
    ran = _run("check", PROCESSOR_BROKER="kafka://127.0.0.1:1")
    assert "WRONG  broker: Kafka at 127.0.0.1:1 failed: connection refused" in ran.stdout


def test_a_report_of_a_file_imports_no_client() -> None:
    """The clients and servers of other commands take longer to import than a small file to read."""
    script = (
        "import sys; from processor.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end\n"
        "clients = ('faust', 'aiokafka', 'elasticsearch', 'aiohttp', 'sqlite3', 'pandas')\n"
        "assert not [name for name in clients if name in sys.modules]\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, "report", DATA / "events.ndjson"],
        check=True, timeout=60, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def test_help_has_examples_and_every_setting() -> None:
    ran = _run("run", "--help")
    assert ran.returncode == 0
    for name in ("PROCESSOR_BROKER", "PROCESSOR_HORIZON", "PROCESSOR_KAFKA_SASL_PASSWORD"):
        assert name in ran.stdout
    for command in ("replay", "send", "demo"):
        assert f"processor {command}" in _run(command, "--help").stdout


def test_check_says_what_is_there() -> None:
    ran = _run("check", PROCESSOR_METRICS_PORT="0", PROCESSOR_INGRESS_PORT="0")
    assert ran.returncode == 0, ran.stdout
    assert "ok     settings" in ran.stdout
    ran = _run("check", PROCESSOR_BROKER="kafka://127.0.0.1:1")
    assert ran.returncode == 1
    assert "WRONG  broker" in ran.stdout
