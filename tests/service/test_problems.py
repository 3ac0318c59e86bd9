"""The problems of a worker: one log line for each change, and when they make it unready."""

import logging
from collections.abc import Iterable

import pytest

from processor.service.problems import Problems, Trouble


class _World:
    """Troubles and a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_795_165_439.0
        self.troubles: list[Trouble] = []
        self.problems = Problems(lambda: iter(self.troubles), lambda: self.now)

    def look(self, *troubles: Trouble, after: float = 0.0) -> list[str]:
        self.now += after
        self.troubles = list(troubles)
        self.problems.refresh()
        return [one.what for one in self.problems.all()]


_AWAY = Trouble("archive", "it is away", "start it")
_FULL = Trouble("disk", "the disk is full", "make room", 0.0)
_MISSING = Trouble("topics", "missing: a", "create it", 30.0)


def test_a_problem_is_logged_when_it_begins_changes_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = _World()
    for _ in range(3):
        world.look(_AWAY, after=1.0)
    (problem,) = world.problems.all()
    assert problem.since == "2026-11-20T09:04:00Z"
    assert (problem.cause, problem.remedy, problem.unready) == ("archive", "start it", False)
    world.look(Trouble("archive", "it refuses", "let it"), after=10.0)
    (problem,) = world.problems.all()
    assert problem.since == "2026-11-20T09:04:00Z"
    world.look(after=5.0)
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", "it is away: start it"),
        ("WARNING", "it refuses: let it"),
        ("INFO", "solved after 17 s: it refuses"),
    ]


def test_a_cause_is_told_once_and_the_worst_first() -> None:
    world = _World()
    again = Trouble("archive", "the same in other words", "start it")
    assert world.look(_AWAY, _MISSING, again) == ["missing: a", "it is away"]


def test_only_some_problems_make_a_worker_unready_and_some_after_a_while() -> None:
    world = _World()
    world.look(_AWAY, _MISSING)
    assert world.problems.blocking() == []
    world.look(_AWAY, _MISSING, _FULL, after=29.0)
    assert world.problems.blocking() == ["the disk is full"]
    world.look(_AWAY, _MISSING, after=1.0)
    assert world.problems.blocking() == ["missing: a"]
    world.look(_AWAY)
    world.look(_AWAY, _MISSING, after=60.0)
    assert world.problems.blocking() == []


def _never() -> Iterable[Trouble]:
    return ()


def test_without_a_problem_there_is_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems(_never)
    problems.refresh()
    assert (problems.all(), list(problems.blocking()), caplog.records) == ((), [], [])
