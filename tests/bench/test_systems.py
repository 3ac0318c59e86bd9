"""What can't be had or fails is left out with its reason; without the processor there is no table."""

from pathlib import Path

import pytest

from bench.peers import systems
from bench.peers.environment import PeerMissing
from bench.peers.systems import System
from bench.support.load import Expected
from bench.support.measure import BenchError, Job, Run
from bench.support.report import Results


def _missing() -> None:
    raise PeerMissing("no wheel")


def _right(job: Job) -> Run:
    return Run("right", job.events, 1.0, 1.0, 1)


def _wrong(_: Job) -> Run:
    raise BenchError("wrong: m judged 2, not 3\nthe end of a log")


def _results() -> Results:
    return Results({}, rounds=[{}, {}])


def _job(folder: Path) -> Job:
    return Job("none", "none", 8, events=1, expected=Expected(), folder=folder)


def test_what_cannot_be_installed_is_left_out() -> None:
    left_out = systems.prepare([System("a", "A", _right, _missing), System("b", "B", _right)])

    assert left_out == {"a": "not installed: no wheel"}


def test_a_peer_that_fails_is_left_out_and_told(tmp_path: Path) -> None:
    results = _results()

    assert systems.run(System("good", "Good", _right), _job(tmp_path), results)
    assert not systems.run(System("bad", "Bad", _wrong), _job(tmp_path), results)

    assert list(results.rounds[1]) == ["good"]
    assert results.left_out == {"bad": "failed in round 2: wrong: m judged 2, not 3"}


@pytest.mark.parametrize("name", systems.NEEDED)
def test_without_a_needed_system_it_ends(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="judged 2, not 3"):
        systems.run(System(name, name, _wrong), _job(tmp_path), _results())
