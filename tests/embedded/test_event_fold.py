"""The fold of the embedded mode: its counts are those of a replay of the archive, whatever has left
memory, and wherever it was saved and loaded."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.raw_event import RawEvent
from processor.domain.timestamps import HOUR, format_time
from tests.embedded.process import Process, replayed
from tests.support.archives.harness import answer, event_of, truth


class Step(NamedTuple):
    """An event, and what happens before it: hours pass, requests leave memory, the process is killed or
    ends."""

    hours: int
    leave: bool
    end: str
    request: int
    label: str
    is_response: bool
    predictor: str
    late: int


_STEPS = st.lists(
    st.builds(
        Step,
        hours=st.sampled_from([0, 0, 1, 30, 24 * 8]),
        leave=st.booleans(),
        end=st.sampled_from(["", "", "", "", "ended", "killed"]),
        request=st.integers(0, 3),
        label=st.sampled_from("ab"),
        is_response=st.booleans(),
        predictor=st.sampled_from(["default", "canary"]),
        late=st.integers(0, 2),
    ),
    max_size=15,
)


def _event(step: Step, now: int) -> RawEvent:
    request = f"r{step.request}"
    fact = (
        answer(request, step.label, predictor=step.predictor)
        if step.is_response
        else truth(request, step.label)
    )
    # Some events overtake others.
    fact = fact._replace(time=format_time(now - step.late * HOUR))
    return event_of(fact)._replace(timestamp=now)


async def _check(steps: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = await SqliteArchive.open(Path(folder) / "events.sqlite")
        process = Process(Path(folder), archive)
        events: list[RawEvent] = []
        try:
            for step in steps:
                process.pass_hours(step.hours)
                if step.leave:
                    process.leave()
                if step.end:
                    await process.restart(save=step.end == "ended")
                events.append(_event(step, process.now))
                await process.put(events[-1])
            assert process.models == replayed(events)
        finally:
            await archive.close()


@settings(max_examples=settings().max_examples // 3)
@given(_STEPS)
def test_counts_are_those_of_a_replay(steps: list[Step]) -> None:
    asyncio.run(_check(steps))
