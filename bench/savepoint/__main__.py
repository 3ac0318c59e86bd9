"""Measure savepoints: CPU time to save and to load, memory, and bytes per request.

One partition, all requests kept: a prediction of three classes with a UUID, 63 % of them with a feedback
some minutes later, at 500 a second of log time, with times in microseconds and in milliseconds. Without
Kafka. Saving includes what the requests count, which is subtracted; loading is the making of records;
folding is what the join of the new app does with them. The savepoint is checked to give the same counts.
"""

import multiprocessing
import sys
from collections.abc import Sequence
from itertools import product

from ..support.command import parser
from .measure import measure


def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.savepoint", __doc__, "--requests 100000 1000000")
    line.add_argument(
        "--requests", type=int, nargs="+", default=[100_000, 1_000_000],
        help="numbers of requests, a run each (%(default)s)",
    )  # fmt: skip
    line.add_argument(
        "--steps", type=int, nargs="+", default=[1000, 1_000_000],
        help="ns of which all times are multiples (%(default)s)",
    )  # fmt: skip
    options = line.parse_args(arguments)
    print("| requests | times in | file | bytes each | saving | its memory | loading | folding |\n"
          "|--:|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    for requests, step in product(options.requests, options.steps):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (requests, step))
        print(
            f"| {found.requests:,} | {step:,} ns | {found.file_bytes / 1e6:.1f} MB "
            f"| {found.file_bytes / found.requests:.1f} | {found.save:.1f} s "
            f"| {found.save_memory / 1e6:.0f} MB | {found.load:.1f} s | {found.fold:.1f} s |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
