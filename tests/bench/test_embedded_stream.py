"""The stream of the embedded month: its truth is that of a replay of its events."""

import json

from bench.embedded.stream import EVENTS_PER_REQUEST, Stream
from processor.archive.sqlite.file import raw_event
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection

_START, _INTERVAL = 1_700_000_000 * SECOND, 150 * SECOND


def test_its_truth_is_that_of_a_replay() -> None:
    """Ten days; the stream is stored and goes on in between."""
    fold = ReplayFold(ModelRules(), Selection())
    stream = Stream(_START, _INTERVAL)
    times: list[int] = []
    for steps in (1, 2000, 1999, 1760):
        rows = list(stream.take(steps))
        times += [row[0] for row in rows]
        fold.add(raw_event((0, *row)) for row in rows)
        (model,) = fold.result().models
        found = {(one.actual, one.predicted): one.count for one in model.confusion}
        assert (model.predictions, found) == (stream.predictions, stream.cells)
        position = json.loads(json.dumps(stream.position()))
        stream = Stream(0, 1)
        stream.restore(position)
    assert times == sorted(times)
    assert len(times) == stream.events
    assert fold.result().events.corrections > 0
    assert fold.result().events.duplicates > 0
    # Feedback of the last days is still to come.
    assert 0.9 < stream.events / (stream.step * EVENTS_PER_REQUEST) < 1
