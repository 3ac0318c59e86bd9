"""Measure a worker's start on a log with many observations, on a real Kafka.

The log is filled with records as the processor makes them. A worker folds it for the first time and
sends its deltas; then it is started again with its snapshots, with their shared copies in a folder
alone, and without any. The time of a start counts only if its counts become exact.
"""

import asyncio
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import FeedbackRow, PredictionRow
from processor.domain.log.records import encode
from processor.kafka.clients import Kafka
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings

from .support.command import command, kafka_and_folder, parser, say
from .support.load import NAMES, Expected, ModelCounts, deployment
from .support.measure import differences, metric, models, usage, wait_until
from .support.processor_app import fresh_name, worker
from .support.rows import (
    RIGHT,
    WRONG,
    batch,
    feedback_row,
    model_keys,
    prediction_row,
    request_ids,
)
from .support.topic_fill import PARTITIONS, fresh_topic

FIRST, WITH_SNAPSHOTS = "the first: deltas are sent", "with snapshots"
SHARED, WITHOUT = "with shared snapshots alone", "without"
_MODELS = 10
_FEEDBACK, _RIGHT = 0.63, 46 / 63
_ROWS = 2000
#: Requests of a step, and by how many steps their feedback comes later.
_STEP, _BEHIND = 10_000, 5
_SPAN, _DELAY = 3600 * 1_000_000_000, 1_000_000_000
_LIMIT = 900.0


class Start(NamedTuple):
    """A start of a worker: `seconds` from the start of the process to exact counts, and the worker's
    own figure, `reading`: seconds of the slowest partition from its assignment to the end of the log.
    """

    title: str
    seconds: float
    reading: float
    peak_bytes: int


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.journal", __doc__, "--observations 100000")
    line.add_argument(
        "--observations", type=int, default=10_000_000, help="on the log (%(default)s)"
    )
    options = line.parse_args(arguments)
    with kafka_and_folder() as (bootstrap, folder):
        written, starts = _run(bootstrap, folder, options.observations)
    print(table(starts, written))
    return 0


def table(starts: Sequence[Start], observations: int) -> str:
    """Markdown: a row for each start."""
    lines = [
        "| start | until exact, s | reading, s | observations/s | peak MiB |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {title} | {seconds:.1f} | {reading:.1f} "
        f"| {'' if title in (WITH_SNAPSHOTS, SHARED) else format(observations / reading, ',.0f')} "
        f"| {peak / 2**20:,.0f} |"
        for title, seconds, reading, peak in starts
    ]
    return "\n".join(lines)


def _run(bootstrap: str, folder: Path, observations: int) -> tuple[int, list[Start]]:
    app_id, topic = fresh_name(), fresh_topic(bootstrap)
    begin = time.monotonic()
    written, expected = asyncio.run(fill(bootstrap, app_id, observations))
    say(f"{written:,} observations put on the log in {time.monotonic() - begin:.0f} s")
    starts = []
    shared = folder / "shared"
    shared.mkdir()
    for title in (FIRST, WITH_SNAPSHOTS, SHARED, WITHOUT):
        if title in (SHARED, WITHOUT):
            shutil.rmtree(folder / "worker" / "data")
        if title == WITHOUT:
            shutil.rmtree(shared / app_id)
        starts.append(_start(title, bootstrap, topic, app_id, folder / "worker", expected))
        say(f"{title}: {starts[-1].seconds:.1f} s")
    return written, starts


def _start(
    title: str, bootstrap: str, topic: str, app_id: str, folder: Path, expected: Expected
) -> Start:
    begin = time.monotonic()
    wrong: list[str] = []
    shared = {"PROCESSOR_SNAPSHOTS": f"file://{folder.parent / 'shared'}"}
    with worker(bootstrap, topic, app_id, folder, shared) as one:

        def exact() -> bool:
            wrong[:] = _wrong(expected, one.url)
            return not wrong

        wait_until(exact, [one], _LIMIT, lambda: f"{title}: wrong: {'; '.join(wrong[:5])}")
        seconds = time.monotonic() - begin
        peak = usage(one.process.pid).peak_bytes
        reading = metric(one.url, "processor_recovery_seconds")
    return Start(title, seconds, reading or 0.0, peak)


def _wrong(expected: Expected, url: str) -> list[str]:
    """What differs from the truth: the requests without feedback, or else the counts.

    The tally knows the counts from its checkpoint; only a join that has read the whole log knows the
    requests without feedback.
    """
    wanted = sum(model.predictions for model in expected.models.values()) - expected.judged
    found = metric(url, "processor_waiting_requests")
    if found != wanted:
        return [f"{found} requests wait, not {wanted}"]
    return differences(expected, models(url))


async def fill(bootstrap: str, app_id: str, observations: int) -> tuple[int, Expected]:
    """Put about that many observations on the log of a fresh app; their number and exact counts."""
    settings = Settings.from_env(
        {"PROCESSOR_BROKER": f"kafka://{bootstrap}", "PROCESSOR_APP_ID": app_id}
    )
    kafka = Kafka(settings, settings.broker)
    log_id = await prepare(kafka, settings)
    topic, keys = Topics.of(app_id).observations, model_keys(_MODELS)
    expected, written = Expected(), 0
    predictions: list[list[PredictionRow]] = [[] for _ in range(PARTITIONS)]
    feedbacks: list[list[FeedbackRow]] = [[] for _ in range(PARTITIONS)]
    async with kafka.producer(linger_ms=5) as producer:

        async def send(partition: int) -> None:
            value = encode(batch(keys, predictions[partition], feedbacks[partition], log_id))
            await producer.send(topic, value, partition=partition)
            predictions[partition], feedbacks[partition] = [], []

        for made, said, counts in draw(observations, time.time_ns() - _SPAN):
            expected.add(counts)
            written += len(made) + len(said)
            for row in made:
                predictions[partition_of(row.request_id, PARTITIONS)].append(row)
            for judgement in said:
                feedbacks[partition_of(judgement.request_id, PARTITIONS)].append(judgement)
            for partition in range(PARTITIONS):
                if len(predictions[partition]) + len(feedbacks[partition]) >= _ROWS:
                    await send(partition)
        for partition in range(PARTITIONS):
            await send(partition)
        await producer.flush()
    return written, expected


def draw(
    observations: int, start_ns: int
) -> Iterator[tuple[list[PredictionRow], list[FeedbackRow], Expected]]:
    """About that many observations over an hour of event time, in steps, with their exact counts."""
    rng = np.random.default_rng(1)
    requests = round(observations / (1 + _FEEDBACK))
    behind = deque[list[FeedbackRow]]([] for _ in range(_BEHIND))
    for first in range(0, requests, _STEP):
        n = min(_STEP, requests - first)
        model = rng.integers(0, _MODELS, n)
        label = rng.integers(0, 3, n)
        right = rng.random(n) < _RIGHT
        actual = np.where(right, label, (label + rng.integers(1, 3, n)) % 3)
        given = rng.random(n) < _FEEDBACK
        predicted_at = start_ns + (first + np.arange(n)) * (_SPAN // requests)
        ids = request_ids(rng.bytes(16 * n))
        expected, predictions, feedbacks = Expected(), [], []
        columns = (column.tolist() for column in (model, predicted_at, label, actual, given))
        for request_id, one, at, said, truth, judged in zip(ids, *columns, strict=True):
            counts = expected.models.setdefault(deployment(one), ModelCounts())
            counts.predictions += 1
            predictions.append(prediction_row(request_id, one, at, said))
            if judged:
                counts.cells[NAMES[truth], NAMES[said]] += 1
                form = RIGHT if truth == said else WRONG
                feedbacks.append(feedback_row(request_id, one, at + _DELAY, truth, form))
        behind.append(feedbacks)
        yield predictions, behind.popleft(), expected
    for feedbacks in behind:
        yield [], feedbacks, Expected()


if __name__ == "__main__":
    sys.exit(main())
