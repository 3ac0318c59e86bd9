"""An app that was moved through a savepoint counts as if it had never been moved."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.timestamps import HOUR
from processor.models_file import read_models
from tests.savepoint.whole_app import WholeApp, moved, saved
from tests.support.domain.join_batches import prediction
from tests.support.domain.join_model import observations
from tests.support.log_format_fixture import RULES, observations_of_values

START = 20_000 * 24 * HOUR + 5 * HOUR
#: The times of observations are some minutes after 1970: they are moved to when they come.
_STEPS = (0, 0, 0, HOUR // 60, HOUR, 2 * HOUR, 3 * HOUR, 26 * HOUR)
_MODES = (IngestMode.NORMAL, IngestMode.NORMAL, IngestMode.NORMAL, *IngestMode)


class Step(NamedTuple):
    """What comes, how it is folded, and the time (ns) that passes before."""

    pause: int
    mode: IngestMode
    seen: list[Prediction | Feedback]
    evicts: bool


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """The course of a log, in the order in which it comes."""
    found: list[Step] = []
    now = START
    for _ in range(draw(st.integers(0, 4))):
        pause = draw(st.sampled_from(_STEPS))
        now += pause
        # Some come as late as the windows are long.
        at = now - draw(st.sampled_from([0, 0, HOUR, 30 * HOUR, 40 * 24 * HOUR]))
        seen = [one._replace(time=at + one.time - 6 * HOUR // 60) for one in draw(observations)]
        mode = draw(st.sampled_from(_MODES))
        found.append(Step(pause, mode, seen, draw(st.integers(0, 9)) == 0))
    return found


def go_on(app: WholeApp, course: list[Step]) -> None:
    for step in course:
        app.pass_time(app.now + step.pause)
        app.put(step.mode, step.seen)
        if step.evicts:
            app.evict(app.now // HOUR)


def apart(course: list[Step], name: str) -> list[Step]:
    """The course with requests of their own where these are counted and not kept: until when such a
    request is known depends on others of its partition."""
    return [
        step._replace(
            seen=[one._replace(request_id=f"{name}-{one.request_id}") for one in step.seen]
        )
        if step.mode == IngestMode.COUNT_AND_DROP
        else step
        for step in course
    ]


def repeated(course: list[Step]) -> list[Step]:
    """Requests that were counted and not kept come again, but for predictions that are later than when
    these were counted: whether these are recognised depends on others of the partition."""
    counted: dict[tuple[str, str], int] = {}
    found = []
    for step in course:
        if step.mode != IngestMode.COUNT_AND_DROP:
            continue
        times: dict[tuple[str, str], int] = {}
        for one in step.seen:
            if isinstance(one, Prediction):
                times[_identity(one)] = min(one.time, times.get(_identity(one), one.time))
        counted = times | counted
        seen = [
            one
            for one in step.seen
            if isinstance(one, Feedback) or one.time <= counted[_identity(one)]
        ]
        found.append(Step(0, IngestMode.NORMAL, seen, False))
    return found


def _identity(one: Prediction) -> tuple[str, str]:
    return one.model.deployment, one.request_id


def assert_equal(new: WholeApp, stays: WholeApp) -> None:
    assert new.windows() == stays.windows()
    assert new.buckets() == stays.buckets()
    assert new.gauges() == stays.gauges()
    assert new.requests() == stays.requests()


#: A prediction that was counted and not kept, and the same one again.
_DROPPED, _AGAIN = (
    [Step(0, mode, [prediction("r", time=START)], False)]
    for mode in (IngestMode.COUNT_AND_DROP, IngestMode.NORMAL)
)


@example(_DROPPED, _AGAIN, (1, 1), 5 * HOUR, [], 6 * HOUR)  # it is forgotten while nothing runs
@given(
    steps(),
    steps(),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([5 * HOUR, 24 * HOUR, 7 * 24 * HOUR]),
    st.lists(st.integers(0, 12), max_size=2),
    st.sampled_from([0, 0, HOUR, 6 * HOUR]),
)
def test_moved_is_never_moved(
    before: list[Step],
    after: list[Step],
    partitions: tuple[int, int],
    horizon: int,
    killed_after: list[int],
    pause: int,
) -> None:
    """At any moment, from any number of partitions to any other, with loads that were killed half-way:
    late, early, corrected and batched observations, completed and restored requests."""
    if partitions[0] != partitions[1]:
        before, after = apart(before, "old"), apart(after, "new")
        after = repeated(before) * (pause == 0) + after
    old, stays = (WholeApp(partitions[0], horizon) for _ in range(2))
    for app in (old, stays):
        app.pass_time(START)
        go_on(app, before)
    new = WholeApp(partitions[1], horizon, "new")
    new.now = old.now + pause
    moved(saved(old), new, killed_after)
    for app in (stays, new):
        app.pass_time(old.now + pause)
    assert_equal(new, stays)
    for app in (stays, new):
        go_on(app, after)
    assert_equal(new, stays)


@given(steps(), steps(), st.integers(1, 3), st.sampled_from([2, 26, 24 * 30]))
def test_another_horizon_keeps_all_counts(
    before: list[Step], after: list[Step], partitions: int, hours: int
) -> None:
    """A shorter horizon drops requests and none of their counts; with a longer one the app goes on as if
    it had never been moved, until something leaves memory."""
    horizon = 24 * HOUR
    old, stays = (WholeApp(2, horizon) for _ in range(2))
    before = apart(before, "old")
    for app in (old, stays):
        app.pass_time(START)
        go_on(app, before)
    new = WholeApp(partitions, hours * HOUR, "new")
    new.now = old.now
    moved(saved(old), new)
    assert new.windows() == stays.windows()
    assert new.buckets() == stays.buckets()
    kept, known = new.requests(), stays.requests()
    assert kept.items() <= known.items()
    oldest = (old.now // HOUR * HOUR - hours * HOUR) // HOUR
    for key in known.keys() - kept.keys():
        assert known[key][0] < oldest
    if hours > 24:
        for app in (stays, new):
            for step in apart(after, "new"):
                app.put(step.mode, step.seen)
        assert_equal(new, stays)


@given(st.data(), st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_values_of_every_kind(data: st.DataObject, partitions: tuple[int, int]) -> None:
    """Probabilities, numbers, label sets, and custom statistics."""
    read_models(RULES, custom_statistics=True)
    try:
        seen = [one._replace(time=START + one.time % HOUR) for one in observations_of_values()]
        order = data.draw(st.permutations(seen))
        cut = data.draw(st.integers(0, len(order)))
        old, stays = (WholeApp(partitions[0], 24 * HOUR) for _ in range(2))
        for app in (old, stays):
            app.pass_time(START)
            app.put(IngestMode.NORMAL, order[:cut])
        new = WholeApp(partitions[1], 24 * HOUR, "new")
        new.now = old.now
        moved(saved(old), new)
        assert_equal(new, stays)
        for app in (stays, new):
            app.put(IngestMode.NORMAL, order[cut // 2 :])
        assert_equal(new, stays)
    finally:
        read_models({})
