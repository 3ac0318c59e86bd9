"""Every alert is made to fire by some test in a real Prometheus."""

import re
from collections import Counter

import pytest

from tests.support.alerts.causes import HOLDS, KAFKA, MODELS, RULES, WORKER
from tests.support.alerts.prometheus import seconds_of, shortened


def test_every_alert_is_caused_once() -> None:
    assert Counter([*MODELS, *WORKER, *KAFKA]) == Counter(list(HOLDS))


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("rate(x[5m])", "rate(x[5000ms])"),
        ("min_over_time(x[2d] offset 6d)", "min_over_time(x[48000ms] offset 144000ms)"),
        ("for: 6h", "for: 6000ms"),
        ("for: 5m", "for: 1000ms"),
        ("x - x offset 30m > 300", "x - x offset 5000ms > 300"),
    ],
)
def test_times_are_divided_and_numbers_stay(rule: str, found: str) -> None:
    assert shortened(rule, 3600) == found


def test_the_shortened_rules_are_the_shipped_ones_but_for_their_times() -> None:
    lines = zip(RULES.splitlines(), shortened(RULES, 3600).splitlines(), strict=True)
    changed = [(one, other) for one, other in lines if one != other]
    assert len(changed) > len(HOLDS)
    assert all(re.search(r"(\[|offset |for: )\d+ms\b", other) for _, other in changed)
    assert seconds_of("2d") == 172_800
