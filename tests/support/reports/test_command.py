"""Commands that are run in forks do what they do in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.reports.command import processor, run_command
from tests.support.workers import DATA


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", str(DATA / "events.ndjson"), "--format", "csv"),
        ("replay", "missing.ndjson"),
        ("run",),
        ("report", "--help"),
    ],
)
def test_a_fork_is_like_a_process(arguments: tuple[str, ...]) -> None:
    env = {**os.environ, "PROCESSOR_HORIZON": "soon", "COLUMNS": "70"}
    found = run_command(arguments, env)
    wanted = subprocess.run(
        [sys.executable, "-m", "processor", *arguments],
        env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (wanted.returncode, wanted.stdout)
    # The progress names the speed.
    assert found.stderr.split(" events")[0] == wanted.stderr.split(" events")[0]


def test_forks_leave_nothing_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "PROCESSOR_HORIZON" in processor("run", horizon="soon").stderr
    assert "PROCESSOR_WINDOWS" in processor("run", windows="90s").stderr
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    assert processor("replay", "empty").stderr.endswith("the source holds no events\n")
