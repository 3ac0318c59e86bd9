"""`python -m bench.week`: a week of log time and more through the join and the tally of workers.

Predictions come at a steady rate for some days, their feedback from half a minute to 9/7 of the horizon
later; 1 % of both comes twice, 1 % of the feedback is corrected, some comes before its prediction. The
records are written to files first, partition by partition; a process for each worker folds those of its
share as a worker does (`JoinStage` with its snapshots, `TallyStage` with a checkpoint every 6 hours,
ticks), and others start from what is left: with snapshots, and one partition of each worker without one.
Every bucket and window, the requests in memory and those judged too late must equal what follows from
the generator alone. The log of a million observations takes 62 MB on the disk.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from .filled import say
from .measure import end_in_order_on_sigterm
from .traffic import Traffic
from .week_log import journal, write
from .week_parts import Life, Restart, Share, live, start
from .week_report import Week, draw_curves, summary, table, write_json
from .week_truth import differences

R = TypeVar("R")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.week",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rate", type=float, default=20, help="predictions per second of log time (%(default)s)"
    )
    parser.add_argument("--days", type=int, default=10, help="of predictions (%(default)s)")
    parser.add_argument("--horizon", type=int, default=168, help="in hours (%(default)s)")
    parser.add_argument("--partitions", type=int, default=1, help="of the log (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="that have them, side by side (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write every hour there")
    parser.add_argument("--picture", type=Path, help="draw memory and time there, a PNG")
    options = parser.parse_args(arguments)
    if not 0 < options.workers <= options.partitions:
        parser.error(f"--workers {options.workers}: from 1 to the number of --partitions")
    end_in_order_on_sigterm()
    traffics = [
        Traffic(options.rate / options.partitions, options.days, options.horizon, seed=number + 1)
        for number in range(options.partitions)
    ]
    shares: list[Share] = [
        dict(list(enumerate(traffics))[number :: options.workers])
        for number in range(options.workers)
    ]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for part in ("journal", "data", "restart", "empty"):
            (folder / part).mkdir()
        written = _apart(options.workers, write, [
            (traffic, journal(folder, number)) for number, traffic in enumerate(traffics)
        ])  # fmt: skip
        observations = sum(map(sum, written))
        say(f"{observations:,} observations written after {time.monotonic() - begin:.0f} s")
        lives = _apart(options.workers, live, [
            (share, options.partitions, folder, {number: written[number] for number in share})
            for share in shares
        ])  # fmt: skip
        say(f"folded after {time.monotonic() - begin:.0f} s")
        warm, cold = (
            _apart(options.workers, start, [
                (dict(islice(share.items(), most)), options.partitions, folder, data,
                 life.full.next_offsets)
                for share, life in zip(shares, lives, strict=True)
            ])
            for data, most in (("restart", None), ("empty", 1))
        )  # fmt: skip
        say(f"started twice after {time.monotonic() - begin:.0f} s")
    looks = [
        (share, look) for share, life in zip(shares, lives, strict=True) for look in life.looks
    ]
    wrong = [line for lines in _apart(options.workers, differences, looks) for line in lines]
    for life, *restarts in zip(lives, warm, cold, strict=True):
        wrong += _wrong_ends(life, restarts)
    week = Week(traffics, lives, warm, cold, written, wrong)
    print(table(week))
    print("\n" + summary(week))
    if options.json:
        write_json(options.json, week)
    if options.picture:
        draw_curves(options.picture, week)
    for line in wrong[:20]:
        print(f"bench: {line}", file=sys.stderr)
    say(f"{time.monotonic() - begin:.0f} s in all")
    return 1 if wrong else 0


def _apart(
    at_once: int, work: Callable[..., R], arguments: Sequence[tuple[Any, ...]]
) -> list[R]:  # fmt: skip
    """Each in a fresh process: what another part has left would be counted, or hide what it takes."""
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
