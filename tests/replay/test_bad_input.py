"""The messages and exit codes of `processor replay` for bad, empty and truncated sources."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.reports.command import processor, run_command

EVENTS = Path(__file__).parents[1] / "data" / "seed-experiment" / "events.ndjson"
LINES = EVENTS.read_bytes().splitlines(keepends=True)


class Ran(NamedTuple):
    code: int
    result: dict[str, Any]
    stderr: str

    @property
    def numbers(self) -> list[int]:
        return [
            sum(model[name] for model in self.result["models"])
            for name in ("predictions", "judged", "correct")
        ]

    @property
    def dead_letters(self) -> dict[str, int]:
        found: dict[str, int] = self.result["events"]["dead_letters"]
        return found


def replay(*arguments: str | Path, stdin: bytes | None = None, **env: str) -> Ran:
    command, env = ("replay", *arguments), {**os.environ, **env}
    if stdin is None:
        ran = run_command(command, env)
    else:
        ran = subprocess.run(
            [sys.executable, "-m", "processor", *command],
            input=stdin.decode(errors="surrogateescape"), errors="surrogateescape",
            capture_output=True, timeout=120, check=False, env=env,
        )  # fmt: skip
    assert "Traceback" not in ran.stderr
    return Ran(ran.returncode, json.loads(ran.stdout) if ran.stdout else {}, ran.stderr)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


@pytest.mark.parametrize(
    ("line", "reason", "why"),
    [
        (b"not json", "bad_json", "no event"),
        (b'{"headers": {"ce-id": "\xff"}}', "bad_json", "not UTF-8"),
        (b"{}", "not_cloudevent", 'no "headers"'),
        (b'{"headers": ["ce-id"]}', "bad_header", "object of strings"),
        (b'{"headers": {}, "data_base64": "A"}', "bad_shape", "base64"),
    ],
)
def test_a_bad_line_is_named_and_counted(path: Path, line: bytes, reason: str, why: str) -> None:
    path.write_bytes(b"".join([*LINES[:100], b"\n", line + b"\n", *LINES[100:]]))
    ran = replay(path)
    assert ran.code == 0
    assert ran.numbers == [100, 63, 46]
    assert ran.result["events"]["read"] == 264
    assert ran.dead_letters == {reason: 1}
    # The empty line of the file has a number too.
    assert "line 102 " in ran.stderr
    assert why in ran.stderr
    strict = replay(path, "--strict")
    assert (strict.code, strict.result) == (1, {})
    assert f"{path}: line 102 " in strict.stderr


def test_many_bad_lines_are_counted_and_the_first_named(path: Path) -> None:
    path.write_bytes(b"x\n" * 50 + b"".join(LINES))
    ran = replay(path)
    assert (ran.code, ran.numbers) == (0, [100, 63, 46])
    assert ran.dead_letters == {"bad_json": 50}
    assert "line 10 " in ran.stderr
    assert "line 11 " not in ran.stderr
    assert "50 in all" in ran.stderr


def test_an_event_that_cannot_be_understood_is_no_bad_line(path: Path) -> None:
    path.write_bytes(b'{"headers": {"ce-id": "other"}}\n' + b"".join(LINES))
    ran = replay(path, "--strict")
    assert (ran.code, ran.numbers) == (0, [100, 63, 46])
    assert ran.dead_letters == {"not_cloudevent": 1}


def test_half_a_last_line_is_told(path: Path) -> None:
    path.write_bytes(EVENTS.read_bytes()[:-40])
    ran = replay(path)
    assert ran.code == 0
    assert ran.result["events"]["read"] == 263
    assert ran.dead_letters == {"bad_json": 1}
    assert "line 263 " in ran.stderr
    assert replay(path, "--strict").code == 1


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_file_that_is_cut_off_is_told(path: Path, from_stdin: bool) -> None:
    content = gzip.compress(EVENTS.read_bytes())[:-3000]
    path.write_bytes(content)
    given: tuple[str | Path, bytes | None] = ("-", content) if from_stdin else (path, None)
    ran = replay(given[0], stdin=given[1])
    # The numbers are shown, but the message and the exit code say that they are incomplete.
    assert ran.code == 1
    assert 0 < ran.numbers[0] < 100
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"processor: {given[0]} is cut off")
    assert "the numbers are those of the events before" in last
    strict = replay("--strict", given[0], stdin=given[1])
    assert (strict.code, strict.result) == (1, {})
    assert "is cut off" in strict.stderr or "line " in strict.stderr


def test_an_empty_range_is_valid_and_told() -> None:
    ran = replay(EVENTS, "--from", "2030-01-01T00:00:00Z")
    assert (ran.code, ran.result["models"]) == (0, [])
    assert ran.result["events"]["read"] == 263
    assert "nothing falls between --from and --to by request time" in ran.stderr
    assert "from 2026-11-20T09:" in ran.stderr
    ran = replay(EVENTS, "--to", "2020-01-01T00:00:00Z", "--by", "feedback")
    assert (ran.code, ran.result["models"]) == (0, [])
    assert "by feedback time" in ran.stderr


def test_an_unknown_deployment_is_told() -> None:
    ran = replay(EVENTS, "--deployment", "other", "--namespace", "seldon")
    assert (ran.code, ran.result["models"]) == (1, [])
    assert "no model matches --namespace seldon --deployment other" in ran.stderr
    assert "there are: seldon/sklearn" in ran.stderr
    assert "did you mean" not in ran.stderr
    ran = replay(EVENTS, "--deployment", "sklern")
    assert (ran.code, ran.result["models"]) == (1, [])
    assert "no model matches --deployment sklern: did you mean seldon/sklearn?" in ran.stderr
    ran = replay(EVENTS, "--deployment", "sklearn")
    assert ran.numbers == [100, 63, 46]
    assert "no model" not in ran.stderr


def test_an_empty_source_is_told(path: Path) -> None:
    for content in (b"", b"\n\n", gzip.compress(b"")):
        path.write_bytes(content)
        ran = replay(path)
        assert (ran.code, ran.result["models"]) == (1, [])
        assert ran.stderr == "processor: nothing was read: the source holds no events\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"id,y_pred\n" * 501, "none of its 501 lines is an event"),
        (b'{"headers": {"ce-type": "x"}}\n' * 3, "none of the 3 events could be understood"),
        (b"\x1f\x8b\x08 this is no gzip", "is damaged"),
        (gzip.compress(EVENTS.read_bytes(), mtime=0)[:20], "is cut off"),
    ],
    ids=["no event", "no type", "damaged", "cut off"],
)
def test_nothing_understood_is_a_failure(path: Path, content: bytes, why: str) -> None:
    path.write_bytes(content)
    ran = replay(path)
    assert (ran.code, ran.result["models"]) == (1, [])
    assert ran.stderr.splitlines()[-1].startswith("processor: ")
    assert why in ran.stderr.splitlines()[-1]
    # A valid second source does not hide it, unless only some events could not be decoded.
    ran = replay(path, EVENTS)
    assert ran.numbers == [100, 63, 46]
    assert ran.code == (0 if "ce-type" in content.decode("latin-1") else 1)


def test_feedback_alone_is_understood(path: Path) -> None:
    path.write_bytes(b"".join(line for line in LINES if b"seldon.serving.feedback" in line))
    ran = replay(path)
    assert (ran.code, ran.result["models"]) == (0, [])
    assert "the sources hold no predictions" in ran.stderr


@pytest.mark.parametrize("command", [("replay",), ("report", "--format", "html")])
def test_an_output_that_cannot_be_written_fails_before_the_read(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    for output, why in (
        (tmp_path / "missing" / "result", "there is no folder"),
        (tmp_path, "is a folder"),
    ):
        ran = processor(*command, "no-such-file", "--output", output)
        assert ran.returncode == 1
        assert why in ran.stderr
        assert "no-such-file" not in ran.stderr
        assert ran.stderr.count("\n") == 1


def test_several_sources_add_up(path: Path) -> None:
    path.write_bytes(gzip.compress(b"".join(LINES[:150])))
    ran = replay(path, "-", stdin=b"".join(LINES[100:]))
    assert (ran.code, ran.numbers) == (0, [100, 63, 46])
    assert ran.result["events"]["read"] == 150 + 163


def test_sources_that_cannot_be_are_named(tmp_path: Path) -> None:
    for source, code, why in (
        ("kafka:topic", 2, "PROCESSOR_BROKER"),
        ("kafka:topic --into", 2, "PROCESSOR_BROKER"),
        (str(tmp_path), 1, "is a folder"),
        ("kserve:/no/such/folder", 1, "there is no folder /no/such/folder"),
    ):
        name, into, _ = source.partition(" ")
        ran = replay(name, *(["--into", "kafka"] if into else []))
        assert (ran.code, ran.result) == (code, {})
        assert why in ran.stderr
        assert ran.stderr.count("\n") == 1
    ran = replay(EVENTS, "--into", "kafka", "--from", "2026-01-01T00:00:00Z")
    assert ran.code == 2
    assert "--into kafka prints no numbers" in ran.stderr


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "processor", "replay", EVENTS, "-", "--output", output],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    # The file is read; now it waits for standard input.
    assert b"263 events" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
