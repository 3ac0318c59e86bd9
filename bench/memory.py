"""`python -m bench.memory`: what a kept request costs, and what keeping many does to the join.

For each number of requests, in a process of its own: bytes per request by the growth of the process
(all in: table, buckets, allocator), time per observation over all and over the last tenth, the longest
stop of a snapshot, and the time to read it back. 63 % of the requests get a feedback, some batches later.
"""

import argparse
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

from processor.domain.counts import ModelKey
from processor.domain.join import JoinFold
from processor.domain.labels import SCORES, Reading, Schema, digest
from processor.domain.observations import (
    EVENT,
    SCHEMA_VERSION,
    AnswerRow,
    FeedbackRow,
    ObservationBatch,
    PredictionRow,
)
from processor.domain.telemetry import Telemetry
from processor.domain.times import HOUR, SECOND
from processor.stream.snapshots import SnapshotFile

from .report import plain_table

_LABELS = ("setosa", "versicolor", "virginica")
_MODELS, _PER_BATCH, _BEHIND, _SHARE = 10, 1230, 5, 0.63
_START = 1_700_000_000 * SECOND
_HORIZON = 168 * HOUR


class Result(NamedTuple):
    """Of one number of requests; times in seconds."""

    requests: int
    bytes_each: float
    rate: float
    last_rate: float
    encode: float
    file_bytes: int
    restore: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--requests", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    options = parser.parse_args(arguments)
    print("requests    bytes each   obs/s   obs/s in the last tenth   snapshot   file   restore")
    for requests in options.requests:
        # A fresh process: what another run has left would be counted, or hide what this one takes.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(measure, (requests,))
        print(
            f"{result.requests:>10,}  {result.bytes_each:>8.1f} B {result.rate:>9,.0f}"
            f"   {result.last_rate:>9,.0f}   {result.encode * 1000:>7.0f} ms"
            f"   {result.file_bytes / 1e6:>5.0f} MB   {result.restore * 1000:>6.0f} ms",
            flush=True,
        )
    return 0
