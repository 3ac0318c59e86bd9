"""Run a week of log time and more through the joins and tallies of workers, and check every count.

Predictions come at a steady rate for some days, their feedback from half a minute to 9/7 of the horizon
later; 1 % of both comes twice, 1 % of the feedback is corrected, some comes before its prediction. The
records are written to files first, partition by partition. A process for each worker folds those of its
share as a worker does (`JoinStage` with its snapshots, `TallyStage` with a checkpoint every 6 hours,
ticks). Other processes start from what is left: with snapshots, and one partition of each worker without
them. Every bucket and window, the number of requests in memory and of those judged too late must equal
the truth, which follows from the generator alone. The log of a million observations takes 62 MB on disk.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ..support.command import command, parser, say
from .log_files import journal, write
from .report import Week, draw, summary, table, write_json
from .traffic import Traffic
from .truth import differences
from .worker import Life, Restart, Share, live, start

R = TypeVar("R")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser(
        "bench.week", __doc__, "--rate 1 --days 1 --horizon 12 --partitions 2 --workers 2"
    )
    line.add_argument(
        "--rate", type=float, default=20, help="predictions per second of log time (%(default)s)"
    )
    line.add_argument("--days", type=int, default=10, help="days of predictions (%(default)s)")
    line.add_argument("--horizon", type=int, default=168, help="horizon in hours (%(default)s)")
    line.add_argument(
        "--partitions", type=int, default=1, help="partitions of the log (%(default)s)"
    )
    line.add_argument(
        "--workers", type=int, default=1, help="workers that share them, side by side (%(default)s)"
    )
    line.add_argument("--json", type=Path, help="write every hour to this file")
    line.add_argument("--picture", type=Path, help="draw memory and time to this PNG")
    options = line.parse_args(arguments)
    if not 0 < options.workers <= options.partitions:
        line.error(f"--workers {options.workers}: from 1 to the number of --partitions")
    traffics = [
        Traffic(options.rate / options.partitions, options.days, options.horizon, seed=number + 1)
        for number in range(options.partitions)
    ]
    shares: list[Share] = [
        dict(list(enumerate(traffics))[number :: options.workers])
        for number in range(options.workers)
    ]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        week = _lived(traffics, shares, Path(folder), begin)
    print(table(week))
    print("\n" + summary(week))
    if options.json:
        write_json(options.json, week)
    if options.picture:
        draw(options.picture, week)
    for difference in week.wrong[:20]:
        print(f"bench: {difference}", file=sys.stderr)
    say(f"{time.monotonic() - begin:.0f} s in all")
    return 1 if week.wrong else 0


def _lived(
    traffics: Sequence[Traffic], shares: Sequence[Share], folder: Path, begin: float
) -> Week:
    """Write the log, fold it, start from what is left, and compare with the truth."""
    at_once = len(shares)
    for part in ("journal", "data", "restart", "empty"):
        (folder / part).mkdir()
    written = _apart(at_once, write, [
        (traffic, journal(folder, number)) for number, traffic in enumerate(traffics)
    ])  # fmt: skip
    observations = sum(map(sum, written))
    say(f"{observations:,} observations written after {time.monotonic() - begin:.0f} s")
    lives = _apart(at_once, live, [
        (share, len(traffics), folder, {number: written[number] for number in share})
        for share in shares
    ])  # fmt: skip
    say(f"folded after {time.monotonic() - begin:.0f} s")
    warm, cold = (
        _apart(at_once, start, [
            (dict(islice(share.items(), most)), len(traffics), folder, data,
             life.full.next_offsets)
            for share, life in zip(shares, lives, strict=True)
        ])
        for data, most in (("restart", None), ("empty", 1))
    )  # fmt: skip
    say(f"started twice after {time.monotonic() - begin:.0f} s")
    looks = [
        (share, look) for share, life in zip(shares, lives, strict=True) for look in life.looks
    ]
    wrong = [line for lines in _apart(at_once, differences, looks) for line in lines]
    for life, *restarts in zip(lives, warm, cold, strict=True):
        wrong += _wrong_ends(life, restarts)
    return Week(traffics, lives, warm, cold, written, wrong)


def _apart(
    at_once: int, work: Callable[..., R], arguments: Sequence[tuple[Any, ...]]
) -> list[R]:  # fmt: skip
    """Do each work in a fresh process: memory that another left would be counted, or hide its own."""
    with multiprocessing.get_context("spawn").Pool(at_once, maxtasksperchild=1) as pool:
        return pool.starmap(work, arguments, chunksize=1)


def _wrong_ends(life: Life, restarts: Sequence[Restart]) -> list[str]:
    wrong = [
        f"a start of partition {number} comes to another state"
        for restart in restarts
        for number, digest in restart.digests.items()
        if digest != life.full.digests[number]
    ]
    if not life.full.tally_equal:
        wrong.append("the tally's checkpoint holds something else than its memory")
    if life.left:
        wrong.append(f"{life.left} requests are in memory a horizon after the last record")
    if life.too_late != life.looks[-1].alone:
        wrong.append(f"{life.too_late} requests were told late, not {life.looks[-1].alone}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
