"""Measure how right the nowcast is in simulated worlds, beside other tools, and what it costs.

Each world is simulated with fixed seeds; the nowcast of the last 24 hours and 7 days is compared with
the true accuracy of their predictions, which only the simulation knows.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from processor.domain.statistics.delays import total
from processor.domain.tally.estimates import Estimator
from tests.support.late_worlds import DAY, Events

from ..peers.environment import PeerMissing, python_with
from ..support.command import command, parser, say
from .cost import costs
from .worlds import MATURITY, WINDOWS, WORLDS, measured, summary

#: The seeds were fixed before a look at what comes of them.
_FIRST_SEED, _FIRST_PEER_SEED, _PEER_SEEDS = 5000, 2000, 20
#: Packages of the peers.
PEERS = ("chainladder==0.10.1", "lifelines==0.30.3")
#: Whole days of the simulation before each comparison with the peers, and days that are compared.
_DAYS, _COMPARED = 30, (1, 2, 3)
#: The worlds of the comparison, and seconds that count as the same duration in it.
_PEER_WORLDS, _STEP = ("steady", "accuracy falls by 0.10 at once"), 300


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if "worlds" in options.parts:
        _print_worlds(range(_FIRST_SEED, _FIRST_SEED + options.seeds))
    if "peers" in options.parts:
        _print_peers(range(_FIRST_PEER_SEED, _FIRST_PEER_SEED + min(options.seeds, _PEER_SEEDS)))
    if "cost" in options.parts:
        for line in costs():
            print(line)
    return 0


def _print_worlds(seeds: range) -> None:
    print(f"{len(seeds)} seeds; errors of the accuracy\n")
    print(
        "| world | window | mean error | rms | best possible rms | intervals that held | withheld |"
    )
    print("|---|---|--:|--:|--:|--:|--:|")
    for name, world in WORLDS.items():
        say(name)
        found = list(measured(world, seeds))
        for window in WINDOWS:
            got = summary([each for where, each in found if where == window])
            print(
                f"| {name} | {window} | {got.mean:+.4f} | {got.rms:.4f} | {got.best_rms:.4f} "
                f"| {got.held:.1%} | {got.withheld:.0%} |".replace("%", "\u202f%").replace(
                    "+nan", "nan"
                )
            )


def _print_peers(seeds: range) -> None:
    """Print the errors of each tool on days of the same triangles, by age."""
    try:
        python = python_with("late", PEERS)
    except PeerMissing as missing:
        print(f"\nleft out: {missing}")
        return
    print(f"\nrms error of the accuracy of a day, {len(seeds)} seeds\n")
    print("| world | tool | " + " | ".join(f"{age} d old" for age in _COMPARED) + " |")
    print("|---|---|" + "--:|" * len(_COMPARED))
    for name in _PEER_WORLDS:
        for tool, by_age in _peer_errors(str(python), name, seeds).items():
            found = [sqrt(sum(e * e for e in by_age[age]) / len(seeds)) for age in _COMPARED]
            print(f"| {name} | {tool} | " + " | ".join(f"{each:.4f}" for each in found) + " |")


def _peer_errors(python: str, name: str, seeds: range) -> dict[str, dict[int, list[float]]]:
    """Return the errors in a world by tool and age in days."""
    errors: dict[str, dict[int, list[float]]] = {}
    now = float(_DAYS * DAY)
    for seed in seeds:
        say(f"peers: {name}, seed {seed}")
        events = Events(replace(WORLDS[name], days=_DAYS), seed)
        for tool, values in {"processor": ours(events, now), **ask(python, events, now)}.items():
            for age in _COMPARED:
                truth = events.accuracy(now - age * DAY, now - (age - 1) * DAY)
                errors.setdefault(tool, {}).setdefault(age, []).append(values[-age] - truth)
    return errors


def ask(python: str, events: Events, now: float) -> dict[str, list[float]]:
    """Return the accuracies of all days by each peer."""
    script = [python, "-m", "bench.late.peers"]
    asked = json.dumps({"triangles": triangles(events, now), "observed": observed(events, now)})
    done = subprocess.run(script, input=asked, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def triangles(events: Events, now: float) -> dict[str, list[list[int]]]:
    """Return the judged items by outcome, day and age in days, of all that is known at ``now`` (s)."""
    at = events.time + events.delay
    known = events.labelled & (at <= now)
    days = round(now / DAY)
    found = {}
    for name, outcome in (("right", events.right), ("wrong", ~events.right)):
        own = known & outcome
        day, age = (events.time[own] // DAY).astype(int), (at[own] // DAY).astype(int)
        rows = [[0] * (days - each) for each in range(days)]
        for first, last in zip(day.tolist(), age.tolist(), strict=True):
            rows[first][min(last - first, days - first - 1)] += 1
        found[name] = rows
    return found


def observed(events: Events, now: float) -> list[list[tuple[float, int, int]]]:
    """Return (duration in days, outcome, items) of all predictions by day: 1 is right and 2 wrong, after
    the delay; 0 has no label so far, after its age. Durations are counted in steps, so that the items of
    one step are one row; wrong ones stand half a step later, since the peer knows no ties."""
    known = events.labelled & (events.time + events.delay <= now)
    outcome = np.where(known, np.where(events.right, 1, 2), 0)
    steps = np.ceil(np.where(known, events.delay, now - events.time) / _STEP).astype(np.int64)
    durations = (steps + np.where(outcome == 2, 0.5, 0.0)) * _STEP / DAY
    rows = np.column_stack([events.time // DAY, durations, outcome])
    found: list[list[tuple[float, int, int]]] = [[] for _ in range(round(now / DAY))]
    for (day, duration, code), items in zip(
        *np.unique(rows, axis=0, return_counts=True), strict=True
    ):
        found[int(day)].append((float(duration), int(code), int(items)))
    return found


def ours(events: Events, now: float) -> list[float]:
    """Return the nowcast of each day; NaN where it is withheld."""
    hours = events.cohorts(now)
    estimator = Estimator(hours.items(), total(hours.values()), now, MATURITY)
    found = []
    for day in range(round(now / DAY)):
        own = {hour: each for hour, each in hours.items() if hour // 24 == day}
        accuracy = estimator.of_cohorts(own).nowcast.accuracy
        found.append(float("nan") if accuracy is None else accuracy)
    return found


def _parser() -> argparse.ArgumentParser:
    found = parser("bench.late", __doc__, "--seeds 40 worlds")
    found.add_argument("parts", nargs="*", default=["worlds", "peers", "cost"],
                       help="worlds, peers, cost; default: all")  # fmt: skip
    found.add_argument(
        "--seeds", type=int, default=400, help="simulations of each world (default: 400)"
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
