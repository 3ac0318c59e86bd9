"""The clock counts only the truth, and says what was wrong when it never comes."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.support.load import Expected, ModelCounts
from bench.support.measure import (
    BenchError,
    Job,
    Run,
    Usage,
    child,
    clocked,
    differences,
    service,
    usage,
)
from tests.support.servers.process import free_port

# Answers as the processor does: no event at first, then events, then counts that grow.
FAKE = """
import http.server, json, sys
port, final = int(sys.argv[1]), int(sys.argv[2])
seen = {"/metrics": 0, "/api/models": 0}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        seen[path] += 1
        if path == "/metrics":
            body = 'processor_events_total{event_type="response"} %d.0' % (seen[path] > 2)
        else:
            n = min(seen[path], final)
            cells = [{"actual": "a", "predicted": "a", "count": n}]
            body = json.dumps({"models": [{"namespace": "seldon", "deployment": "m",
                "predictions": n, "judged": n, "correct": n, "confusion": cells}]})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def _expected(count: int) -> Expected:
    counts = ModelCounts(predictions=count)
    counts.cells["a", "a"] = count
    return Expected({"m": counts})


def _shown(**changes: Any) -> list[dict[str, Any]]:
    cells = [{"actual": "a", "predicted": "a", "count": 3}]
    model = {"namespace": "seldon", "deployment": "m", "predictions": 3, "judged": 3,
             "correct": 3, "confusion": cells}  # fmt: skip
    return [model | changes]


def _job(expected: Expected, folder: Path) -> Job:
    return Job("none", "none", 8, events=1000, expected=expected, folder=folder)


def _clock(final: int, wanted: int, tmp_path: Path, seconds: float = 20) -> Run:
    port = free_port()
    command = [sys.executable, "-c", FAKE, str(port), str(final)]
    with service("fake", command, tmp_path / "log", port) as one:
        return clocked(one, _job(_expected(wanted), tmp_path), seconds)


def test_time_counts_once_the_truth_is_reached(tmp_path: Path) -> None:
    run = _clock(final=3, wanted=3, tmp_path=tmp_path)

    # Two more answers were needed, each a poll of 0.1 s apart.
    assert 0.2 <= run.seconds < 20
    assert run.rate == pytest.approx(1000 / run.seconds)
    assert run.peak_bytes > 1e6


def test_wrong_counts_give_no_time(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="m predictions 2, not 3"):
        _clock(final=2, wanted=3, tmp_path=tmp_path, seconds=1)


def test_an_ended_system_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no broker')"]
    with (
        service("fake", command, tmp_path / "log", free_port()) as one,
        pytest.raises(BenchError, match="no broker"),
    ):
        clocked(one, _job(_expected(1), tmp_path), 5)


def test_usage_of_a_process_that_has_ended(tmp_path: Path) -> None:
    with child(["true"], tmp_path / "log") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert usage(process.pid).peak_bytes == 0
    assert usage(process.pid) == Usage(0, 0)


@pytest.mark.parametrize(
    ("shown", "difference"),
    [
        (_shown(), None),
        ([], "no model m"),
        (_shown(judged=2), "m judged 2, not 3"),
        (_shown(correct=2), "m correct 2, not 3"),
        (_shown(confusion=[]), "m cells {}"),
        (_shown() + _shown(deployment="other"), "unknown model other"),
    ],
)
def test_differences(shown: list[dict[str, Any]], difference: str | None) -> None:
    found = differences(_expected(3), shown)

    assert len(found) == (difference is not None)
    assert (difference or "") in "".join(found)
