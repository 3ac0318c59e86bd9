"""`python -m bench.journal`: a worker's start on a log with many observations, on a real Kafka.

The log is filled with records as the packer makes them. One worker folds it all for the first time
and sends its deltas; then it is started again with its snapshots, and without them; each time it must
show the exact counts before its time counts.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
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
from tests.support.servers import ServerError, kafka_server
from tests.support.servers.topics import create_topics

from .filled import PARTITIONS, say
from .load import NAMES, Expected, ModelCounts, deployment
from .measure import BenchError, differences, end_in_order_on_sigterm, get, models, tail, usage
from .ours import fresh_app_id, worker
from .rows import RIGHT, WRONG, batch, feedback_row, model_keys, prediction_row, request_ids

FIRST, WITH_SNAPSHOTS, WITHOUT = "the first: deltas are sent", "with snapshots", "without"
_MODELS = 10
_FEEDBACK, _RIGHT = 0.63, 46 / 63
_ROWS = 2000
#: Requests that are drawn at a time; their feedback is some such steps behind.
_STEP, _BEHIND = 10_000, 5
_SPAN, _DELAY = 3600 * 1_000_000_000, 1_000_000_000
_LIMIT = 900.0


class Start(NamedTuple):
    """``seconds`` from the process's start to exact counts; ``reading`` is the worker's own account:
    the slowest partition's way from its assignment to the log's end."""

    title: str
    seconds: float
    reading: float
    peak_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.journal", description=__doc__)
    parser.add_argument("--observations", type=int, default=10_000_000, help="(%(default)s)")
    options = parser.parse_args(arguments)
    end_in_order_on_sigterm()
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            written, starts = _run(broker.bootstrap, Path(folder), options.observations)
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
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
        f"| {'' if title == WITH_SNAPSHOTS else format(observations / reading, ',.0f')} "
        f"| {peak / 2**20:,.0f} |"
        for title, seconds, reading, peak in starts
    ]
    return "\n".join(lines)


def _run(bootstrap: str, folder: Path, observations: int) -> tuple[int, list[Start]]:
    app_id, topic = fresh_app_id(), fresh_app_id()
    asyncio.run(create_topics(bootstrap, [topic], PARTITIONS))
    begin = time.monotonic()
    written, expected = asyncio.run(fill(bootstrap, app_id, observations))
    say(f"{written:,} observations put on the log in {time.monotonic() - begin:.0f} s")
    starts = []
    for title in (FIRST, WITH_SNAPSHOTS, WITHOUT):
        if title == WITHOUT:
            shutil.rmtree(folder / "worker" / "data")
        starts.append(_start(title, bootstrap, topic, app_id, folder / "worker", expected))
        say(f"{title}: {starts[-1].seconds:.1f} s")
    return written, starts


def _start(
    title: str, bootstrap: str, topic: str, app_id: str, folder: Path, expected: Expected
) -> Start:
    begin = time.monotonic()
    with worker(bootstrap, topic, app_id, folder) as (process, url, log):
        while wrong := _wrong(expected, url):
            if process.poll() is not None:
                raise BenchError(f"the worker ended with {process.returncode}:\n{tail(log)}")
            if time.monotonic() - begin > _LIMIT:
                raise BenchError(f"{title}: wrong: {'; '.join(wrong[:5])}:\n{tail(log)}")
            time.sleep(0.1)
        seconds = time.monotonic() - begin
        peak = usage(process.pid).peak_bytes
        reading = _metric(url, "processor_recovery_seconds")
    return Start(title, seconds, reading or 0.0, peak)


def _wrong(expected: Expected, url: str) -> list[str]:
    """What is not as it must be: the counts, which the tally knows from its checkpoint, and the requests
    without feedback, which only a join that has read the whole log knows."""
    wanted = sum(model.predictions for model in expected.models.values()) - expected.judged
    found = _metric(url, "processor_waiting_requests")
    waiting = [] if found == wanted else [f"{found} requests wait, not {wanted}"]
    return waiting + (differences(expected, models(url)) if not waiting else [])


def _metric(url: str, name: str) -> float | None:
    found = re.search(rf"^{name} (\S+)$", (get(f"{url}/metrics") or b"").decode(), re.MULTILINE)
    return None if found is None else float(found[1])


async def fill(bootstrap: str, app_id: str, observations: int) -> tuple[int, Expected]:
    """Put about so many on the log of a fresh app; how many, and what they must come to."""
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
    """About so many over an hour of event time, step by step, and what each step comes to."""
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
