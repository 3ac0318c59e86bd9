"""The verdict of a long run, and a short one whole."""

import re

import pytest

from bench.soak.__main__ import main
from bench.soak.report import Course, Sample, beyond, table

_MIB = 1 << 20


def _course(*memory: list[int | None]) -> Course:
    samples = [
        Sample(60.0 * number, 1_000_000 * number, held, [0, None])
        for number, held in enumerate(memory)
    ]
    return Course(len(memory) * 1_000_000, len(memory) * 500_000, 60.0, 1.5, samples, [])


def _both(first: int | None, second: int | None) -> list[int | None]:
    return [first, second]


def test_memory_may_grow_with_the_requests_and_no_more() -> None:
    grown = [_MIB * 90 + 500_000 * number * 64 for number in range(5)]
    course = _course(*(_both(one, one) for one in grown))
    assert beyond(course, 200 * _MIB, 128) < 0
    leaking = _course(*(_both(one + 4 * _MIB * n, None) for n, one in enumerate(grown)))
    assert beyond(leaking, 100 * _MIB, 64) == pytest.approx(6 * _MIB)


def test_the_table_sums_both_workers() -> None:
    text = table(_course([_MIB, 2 * _MIB], [4 * _MIB, None]))
    assert "| 1.0 | 1,000,000 | 500,000 | 4 | 4 | 0 | 0 |" in text
    assert "exact 1.5 s after the last event" in text


@pytest.mark.long
def test_a_short_run_with_a_restart_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rate", "2000", "--minutes", "0.2", "--every", "4"]
    assert main(arguments) == 0
    found = re.search(r" ([0-9]+) restarts", capsys.readouterr().out)
    assert found
    assert int(found[1]) >= 1
