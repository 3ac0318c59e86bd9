"""The alerts on models whose labels come late, in simulated worlds: what fires, and when. The seeds were
not chosen after a look."""

from pathlib import Path

import pytest

from tests.deploy.late_series import Series, fired_by_deployment, first_fired, published
from tests.support.late_worlds import Events, World

# Samples begin once the delays are known, and a week of them passes before what happens: a rule looks
# back so far.
_START, _MOMENT, _END, _STEP = 15, 23, 31, 6

#: A healthy model's accuracy is 0.848 and the floor is 0.8; this is what a fall to 0.7 takes.
_FALL = 0.148
#: What may fire when a model gets worse.
_OF_A_FALL = {
    *("ModelAccuracyLow", "ModelAccuracyFell", "ModelRecallFell"),
    *("ModelErrorBudgetBurns", "ModelErrorBudgetBurnsFast"),
}


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
    # Both classes are found less often.
    assert found.keys() == _OF_A_FALL - {"ModelErrorBudgetBurnsFast"}
    # As soon as the last 24 hours are mostly of the fallen model.
    assert 0 < found["ModelAccuracyLow"] <= 1.5
    assert 0 < found["ModelAccuracyFell"] <= 1.5
    # As soon as the last 3 days' labels are; 30 % wrong is no burn rate of 2.5.
    assert 0 < found["ModelErrorBudgetBurns"] <= 3


def test_a_fall_of_five_points_without_a_floor(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, drop=_MOMENT), promtool, tmp_path)
    assert 0 < found["ModelAccuracyFell"] <= 6


def test_a_healthy_month_with_all_rhythms(promtool: str, tmp_path: Path) -> None:
    """Several models side by side: nobody is called."""
    days = 45
    worlds = {
        "surges": World(days=days, per_day=1000, surges=4, weekly=True, nights=True),
        "weekly-truth": World(days=days, per_day=300, deliveries=True, nights=True),
        "small": World(days=days, per_day=20),
        "retired": World(days=days, per_day=400, drop=30, fall=0.4, stop=40),
    }
    series: Series = {}
    for number, (name, world) in enumerate(worlds.items()):
        series |= published(Events(world, number), _START, days, 12, name)
    names = 'deployment_namespace="simulation", predictor="default", model="model"'
    length = len(next(iter(series.values())))
    series[f'model_retired{{{names}, deployment="retired"}}'] = [1] * length
    assert first_fired(promtool, series, tmp_path, 12) == {}


def test_a_healthy_month_of_a_worker(promtool: str, tmp_path: Path) -> None:
    assert first_fired(promtool, {}, tmp_path, counters=_month_of_a_worker(30)) == {}


def _month_of_a_worker(days: int) -> Series:
    """The counters of a worker with nights and weekends without traffic, which restarts three times."""
    found: Series = {}

    def add(name: str, value: float) -> None:
        found.setdefault(f'processor_{name}, instance="a:9102", pod="a"}}', []).append(value)

    events = letters = 0.0
    for step in range(days * 48):
        day, hour = divmod(step // 2, 24)
        if step in (10 * 48, 20 * 48, 25 * 48 + 20):
            events = letters = 0.0
        if hour >= 8 and day % 7 >= 2:
            events += 900
            letters += step % 40 == 0
        add('events_total{event_type="response"', events)
        add('events_total{event_type="feedback"', events / 2)
        add('dead_letters_total{reason="bad_shape"', letters)
        add('not_scorable_total{reason="shape"', events / 100)
        add('late_total{job=""', letters)
        add('evicted_requests_total{job=""', events / 10)
        add('unmatched_feedbacks{job=""', 25)
        add('matched_requests{job=""', 20_000)
        add('consumer_lag_records{job=""', 40 + step % 3)
    return found


def test_a_class_that_is_retired(promtool: str, tmp_path: Path) -> None:
    """The mix of predicted labels changes for a week, and that is all that is told."""
    series = published(
        Events(World(days=_END, per_day=800, without=_MOMENT), 1), _START, _END, _STEP
    )
    length = len(next(iter(series.values())))
    retired = 'model_class_retired{deployment_namespace="simulation", deployment="simulated", '
    series[retired + 'predictor="default", model="model", class="1"}'] = [1] * length
    found = first_fired(promtool, series, tmp_path, _STEP)
    assert found.keys() <= {"ModelPredictionsDrifted"}
    del series[retired + 'predictor="default", model="model", class="1"}']
    assert "ModelClassNotPredicted" in first_fired(promtool, series, tmp_path, _STEP)


def test_slower_labels_are_no_fall_of_accuracy(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, slow=_MOMENT), promtool, tmp_path)
    assert "ModelAccuracyLow" not in found
    assert "ModelFeedbackStopped" not in found
    assert 0 < found["ModelLabelPaceChanged"] <= 2


def test_labels_that_stop(promtool: str, tmp_path: Path) -> None:
    found = fired(World(days=_END, stop=_MOMENT), promtool, tmp_path)
    assert "ModelAccuracyLow" not in found
    assert 1 <= found["ModelFeedbackStopped"] <= 5


@pytest.mark.full("takes minutes")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_three_hundred_healthy_days(seed: int, promtool: str, tmp_path: Path) -> None:
    """Surges that overlap make the traffic times nine."""
    step = 4
    events = Events(World(days=315, surges=30, weekly=True), seed)
    assert first_fired(promtool, published(events, _START, 315, step), tmp_path, step) == {}


#: The floors of the models whose accuracy falls by five points, by name; without one it is 0.8.
_FLOORS = {"none": None, "0.82": 0.82, "0.83": 0.83}


@pytest.mark.full("takes minutes")
@pytest.mark.timeout(3600)
def test_a_fall_of_five_points(promtool: str, tmp_path: Path) -> None:
    """From 0.848 to 0.798, of models side by side: ten seeds, each with three floors. Prints the days
    that it takes."""
    step, end = 4, 40
    series: Series = {}
    for seed in range(1, 11):
        own = published(Events(World(days=end, drop=_MOMENT), seed), _START, end, step)
        for name, floor in _FLOORS.items():
            model = f'deployment="{name} {seed}"'
            series |= {key.replace('deployment="simulated"', model): own[key] for key in own}
            if floor is not None:
                names = f'deployment_namespace="simulation", {model}, predictor="default"'
                values = [floor] * ((end - _START) * 24 // step)
                series[f'model_floor_ratio{{{names}, model="model"}}'] = list(values)
    found = fired_by_deployment(promtool, series, tmp_path, step)
    assert found.keys() <= _OF_A_FALL
    for name in _FLOORS:
        for alert, fired_at in sorted(found.items()):
            days = sorted(
                round(at - (_MOMENT - _START), 1)
                for model, at in fired_at.items()
                if model.startswith(f"{name} ")
            )
            print(f"floor {name}, {alert}: days until it fires: {days}")
            if days:
                assert days[0] > 0
            if alert == "ModelAccuracyFell" or (alert == "ModelAccuracyLow" and name != "none"):
                assert len(days) == 10
                assert days[-1] <= 7
