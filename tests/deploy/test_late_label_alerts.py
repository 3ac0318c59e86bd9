"""The alerts on models whose labels come late, in simulated worlds: what fires, and when. The seeds were
not chosen after a look."""

from pathlib import Path

import pytest

from tests.deploy.late_series import RULES, first_fired, published
from tests.support.late_worlds import Events, World

# Samples begin once the delays are known, and a week of them passes before what happens: a rule looks
# back so far.
_START, _MOMENT, _END, _STEP = 15, 24, 32, 4

#: A healthy model's accuracy is 0.848 and the floor is 0.8; this is what a fall to 0.7 takes.
_FALL = 0.148


def fired(world: World, promtool: str, folder: Path) -> dict[str, float]:
    """Each alert that fires, with the days from the moment to its first firing."""
    series = published(Events(world, seed=1), _START, _END, _STEP)
    found = first_fired(promtool, series, folder, _STEP)
    return {alert: days - (_MOMENT - _START) for alert, days in found.items()}


@pytest.mark.parametrize(
    "world",
    [World(days=_END, surge=_MOMENT), World(days=_END, weekly=True)],
    ids=["traffic times three", "weekly rhythm"],
)
def test_a_healthy_model_raises_no_alert(world: World, promtool: str, tmp_path: Path) -> None:
    assert fired(world, promtool, tmp_path) == {}


def test_a_fall_of_accuracy(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, drop=_MOMENT, fall=_FALL), promtool, tmp_path)
    assert found.keys() == {"ModelAccuracyLow", "ModelErrorBudgetBurns"}
    # As soon as the last 24 hours are mostly of the fallen model.
    assert 0 < found["ModelAccuracyLow"] <= 1.5
    # As soon as the last 3 days' labels are; 30 % wrong is no burn rate of 2.5.
    assert 0 < found["ModelErrorBudgetBurns"] <= 3


def test_slower_labels_are_no_fall_of_accuracy(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, slow=_MOMENT), promtool, tmp_path)
    assert "ModelAccuracyLow" not in found
    assert "ModelFeedbackStopped" not in found
    assert 0 < found["ModelLabelPaceChanged"] <= 2


def test_labels_that_stop(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, stop=_MOMENT), promtool, tmp_path)
    assert "ModelAccuracyLow" not in found
    assert 1 <= found["ModelFeedbackStopped"] <= 5


@pytest.mark.timeout(1800)
def test_three_hundred_healthy_days(
    promtool: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Surges that overlap make the traffic times nine."""
    if not request.config.getoption("--full"):
        pytest.skip("with --full only: takes minutes")
    series = published(Events(World(days=315, surges=30, weekly=True), seed=1), 15, 315, 2)
    assert first_fired(promtool, series, tmp_path, 2) == {}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("floor", [0.82, 0.83])
def test_a_fall_of_five_points_with_a_floor_of_its_own(
    floor: float, promtool: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From 0.848 to 0.798. Prints the days that it takes, by seed."""
    if not request.config.getoption("--full"):
        pytest.skip("with --full only: takes minutes")
    rules = RULES.read_text(encoding="utf-8").replace("< 0.8\n", f"< {floor}\n")
    days = []
    for seed in range(1, 11):
        events = Events(World(days=40, drop=_MOMENT), seed)
        series = published(events, _START, 40, _STEP)
        found = first_fired(promtool, series, tmp_path, _STEP, rules)
        assert found.keys() <= {"ModelAccuracyLow", "ModelErrorBudgetBurns"}
        days.append(found["ModelAccuracyLow"] - (_MOMENT - _START))
    print(f"floor {floor}: days until the alert: {[round(each, 1) for each in days]}")
    assert min(days) > 0
    assert max(days) <= 7
