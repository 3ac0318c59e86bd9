"""Measure the memory of a kept request, and how the join does with many of them.

For each number of requests, in a process of its own: bytes per request by the growth of the process
(with table, buckets and allocator) and by the join's own estimate, CPU time per observation over all
and over the last tenth, the longest pause for a snapshot, its size, and the time to read it. 63 % of the
requests get a feedback, some batches later.
"""

import gc
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import FeedbackRow, ObservationBatch
from processor.domain.log.records import encode
from processor.domain.timestamps import HOUR, SECOND
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry

from .support.command import parser
from .support.measure import resident_bytes
from .support.rows import (
    EPOCH,
    LABELS,
    TRUTH,
    batch,
    feedback_row,
    model_keys,
    prediction_row,
    request_ids,
)

_MODELS, _PER_BATCH, _BEHIND, _SHARE = 10, 1230, 5, 0.63
_START = 1_700_000_000 * SECOND
_HORIZON = 168 * HOUR


class Result(NamedTuple):
    """For one number of requests; `us` and `last_us`: CPU µs per observation, times in seconds."""

    requests: int
    bytes_each: float
    estimate: float
    us: float
    last_us: float
    stop: float
    file_bytes: int
    restore: float


def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.memory", __doc__, "--requests 100000 1000000")
    line.add_argument(
        "--requests", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000],
        help="numbers of requests, a run each (%(default)s)",
    )  # fmt: skip
    options = line.parse_args(arguments)
    print("| requests kept | bytes each | estimate | µs/observation | in the last tenth "
          "| snapshot's stop | its file | reading it |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for requests in options.requests:
        # A fresh process: memory that an earlier run left would be counted, or hide what this one takes.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (requests,))
        print(
            f"| {found.requests:,} | {found.bytes_each:.1f} | {found.estimate:.1f} "
            f"| {found.us:.2f} | {found.last_us:.2f} "
            f"| {found.stop * 1000:.0f} ms | {found.file_bytes / 1e6:.0f} MB "
            f"| {found.restore:.2f} s |",
            flush=True,
        )
    return 0


def measure(requests: int) -> Result:
    """Fold that many requests and their feedback as one partition of the log."""
    fold = JoinFold(EPOCH, 0, 8, _HORIZON, Telemetry())
    before = resident_bytes()
    spent, marks, rows, made = 0.0, [(0.0, 0)], 0, 0
    for offset, (record, predictions, feedbacks) in enumerate(_batches(requests)):
        begin = time.thread_time()
        fold.apply(offset, _START, record)
        spent += time.thread_time() - begin
        rows += predictions + feedbacks
        made += predictions
        if made - _PER_BATCH < requests * 0.9 <= made:
            marks.append((spent, rows))
    del record
    gc.collect()
    taken = resident_bytes() - before
    last_spent, last_rows = spent - marks[-1][0], rows - marks[-1][1]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = SnapshotFile(Path(folder), "bench", EPOCH, 0, 8, _HORIZON)
        begin = time.thread_time()
        capture, draft = file.capture(1, fold.state), file.draft()
        stop = time.thread_time() - begin
        complete, file_bytes = False, 0
        while not complete:
            begin = time.thread_time()
            complete = capture.step(0.01)
            stop = max(stop, time.thread_time() - begin)
            parts = capture.take()
            file_bytes += sum(map(len, parts))
            draft.append(parts)
        draft.keep()
        begin = time.perf_counter()
        snapshot = file.read()
        assert snapshot is not None
        JoinFold(EPOCH, 0, 8, _HORIZON, Telemetry()).restore(snapshot.state)
        restore = time.perf_counter() - begin
    return Result(
        made, taken / made, fold.approx_bytes / made, spent / rows * 1e6,
        last_spent / last_rows * 1e6, stop, file_bytes, restore,
    )  # fmt: skip


def _batches(requests: int) -> Iterator[tuple[ObservationBatch, int, int]]:
    """Records as they are read from the log, each with its numbers of predictions and feedbacks."""
    rng = random.Random(5)
    models = model_keys(_MODELS)
    decode = msgspec.msgpack.Decoder(ObservationBatch).decode
    waiting: list[list[FeedbackRow]] = [[] for _ in range(_BEHIND)]
    made = 0
    while made < requests:
        predictions, feedbacks = [], []
        for _ in range(_PER_BATCH):
            (request_id,) = request_ids(rng.randbytes(16))
            model, label = rng.randrange(_MODELS), rng.randrange(len(LABELS))
            time_ns = _START + made * 2_000_000
            made += 1
            predictions.append(prediction_row(request_id, model, time_ns, label))
            if rng.random() < _SHARE:
                actual = rng.randrange(len(LABELS))
                feedbacks.append(feedback_row(request_id, model, time_ns + SECOND, actual, TRUTH))
        waiting.append(feedbacks)
        judged = waiting.pop(0)
        record = encode(batch(models, predictions, judged))
        yield decode(record), len(predictions), len(judged)


if __name__ == "__main__":
    sys.exit(main())
