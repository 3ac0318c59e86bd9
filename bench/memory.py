"""`python -m bench.memory`: what a kept request costs, and what keeping many does to the join.

For each number of requests, in a process of its own: bytes per request by the growth of the process
(all in: table, buckets, allocator), time per observation over all and over the last tenth, the
longest stop of a snapshot, and the time to read it back. 63 % of the requests get a feedback, some
batches later.
"""

import argparse
import gc
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import (
    EVENT,
    SCHEMA_VERSION,
    AnswerRow,
    FeedbackRow,
    ObservationBatch,
    PackedBatch,
    PredictionRow,
)
from processor.domain.model_key import ModelKey
from processor.domain.timestamps import HOUR, SECOND
from processor.domain.values import SCORES, Reading, Schema, digest
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry

_LABELS = ("setosa", "versicolor", "virginica")
_MODELS, _PER_BATCH, _BEHIND, _SHARE = 10, 1230, 5, 0.63
_START = 1_700_000_000 * SECOND
_HORIZON = 168 * HOUR


class Result(NamedTuple):
    """Of one number of requests. ``us`` and ``last_us``: CPU per observation; the rest in seconds."""

    requests: int
    bytes_each: float
    us: float
    last_us: float
    stop: float
    file_bytes: int
    restore: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--requests", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    options = parser.parse_args(arguments)
    print("| requests kept | bytes each | µs/observation | in the last tenth | snapshot's stop "
          "| its file | reading it |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for requests in options.requests:
        # A fresh process: what another run has left would be counted, or hide what this one takes.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (requests,))
        print(
            f"| {found.requests:,} | {found.bytes_each:.1f} | {found.us:.2f} | {found.last_us:.2f} "
            f"| {found.stop * 1000:.0f} ms | {found.file_bytes / 1e6:.0f} MB "
            f"| {found.restore:.2f} s |",
            flush=True,
        )
    return 0


def measure(requests: int) -> Result:
    """Fold so many requests and their feedback as one partition of the log."""
    fold = JoinFold("bench", 0, 8, _HORIZON, Telemetry())
    before = _resident()
    spent, marks, rows, made = 0.0, [(0.0, 0)], 0, 0
    for offset, (batch, predictions, feedbacks) in enumerate(_batches(requests)):
        begin = time.thread_time()
        fold.apply(offset, _START, batch)
        spent += time.thread_time() - begin
        rows += predictions + feedbacks
        made += predictions
        if made - _PER_BATCH < requests * 0.9 <= made:
            marks.append((spent, rows))
    del batch
    gc.collect()
    taken = _resident() - before
    last_spent, last_rows = spent - marks[-1][0], rows - marks[-1][1]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = SnapshotFile(Path(folder), "bench", "bench", 0, 8, _HORIZON)
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
        JoinFold("bench", 0, 8, _HORIZON, Telemetry()).restore(snapshot.state)
        restore = time.perf_counter() - begin
    return Result(
        made, taken / made, spent / rows * 1e6, last_spent / last_rows * 1e6, stop, file_bytes,
        restore,
    )  # fmt: skip


def _batches(requests: int) -> Iterator[tuple[PackedBatch, int, int]]:
    """About 2,000 predictions each, as they are read from the log; how many, and how many feedbacks."""
    rng = random.Random(5)
    models = [ModelKey("seldon", f"model-{i}", "default", "classifier") for i in range(_MODELS)]
    schema = Schema(names=_LABELS)
    answers = [AnswerRow(label, None, SCORES, 0) for label in _LABELS]
    truths = [Reading(SCORES, i, len(_LABELS)) for i in range(len(_LABELS))]
    contents = [digest(i) for i in range(len(_LABELS))]
    decode = msgspec.msgpack.Decoder(PackedBatch).decode
    waiting: list[list[FeedbackRow]] = [[] for _ in range(_BEHIND)]
    made = 0
    while made < requests:
        predictions, feedbacks = [], []
        for _ in range(_PER_BATCH):
            digits = rng.randbytes(16).hex()
            request_id = "-".join(
                (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            )
            model, said, time_ns = (
                rng.randrange(_MODELS),
                rng.randrange(3),
                _START + made * 2_000_000,
            )
            made += 1
            predictions.append(
                PredictionRow(request_id, model, time_ns, EVENT, contents[said], said, False)
            )
            if rng.random() < _SHARE:
                said = rng.randrange(3)
                feedbacks.append(
                    FeedbackRow(
                        request_id, model, time_ns + SECOND, EVENT, contents[said], said, None
                    )
                )
        waiting.append(feedbacks)
        batch = ObservationBatch(
            SCHEMA_VERSION, "bench", models, [schema], answers, truths, predictions, waiting.pop(0)
        )
        yield (
            decode(msgspec.msgpack.encode(batch)),
            len(batch.predictions),
            len(batch.feedbacks),
        )


def _resident() -> int:
    """Bytes of this process in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
