"""Measure how right the nowcast is in simulated worlds, beside other tools, and what it costs.

Each world is simulated with fixed seeds; the nowcast of the last 24 hours and 7 days is compared with
the true accuracy of their predictions, which only the simulation knows.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from math import sqrt

from processor.domain.statistics.delays import total
from processor.domain.tally.estimates import Estimator
from tests.support.late_worlds import DAY, Events, World

from ..peers.environment import PeerMissing, python_with
from ..support.command import command, parser, say
from .cost import costs
from .worlds import MATURITY, WINDOWS, WORLDS, measured, summary

#: Packages of the peers.
PEERS = ("chainladder==0.10.1", "lifelines==0.30.3")
#: Whole days of the simulation before each comparison with the peers, and days that are compared.
_DAYS, _COMPARED = 30, (1, 2, 3)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if "worlds" in options.parts:
        _print_worlds(range(1, options.seeds + 1))
    if "peers" in options.parts:
        _print_peers(range(1, min(options.seeds, 10) + 1))
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
                f"| {got.held:.1%} | {got.withheld:.0%} |".replace("%", "\u202f%")
            )


def _print_peers(seeds: range) -> None:
    """Print the errors of each tool on days of the same triangles, by age."""
    try:
        python = python_with("late", PEERS)
    except PeerMissing as missing:
        print(f"\nleft out: {missing}")
        return
    errors: dict[str, dict[int, list[float]]] = {}
    for seed in seeds:
        say(f"peers: seed {seed}")
        events = Events(World(days=_DAYS), seed)
        now = float(_DAYS * DAY)
        for tool, values in {
            **ask(str(python), events, now),
            "processor": ours(events, now),
        }.items():
            for age in _COMPARED:
                truth = events.accuracy(now - age * DAY, now - (age - 1) * DAY)
                errors.setdefault(tool, {}).setdefault(age, []).append(values[-age] - truth)
    print(f"\nrms error of a day's accuracy, {len(seeds)} seeds\n")
    print("| tool | " + " | ".join(f"{age} d old" for age in _COMPARED) + " |")
    print("|---|" + "--:|" * len(_COMPARED))
    for tool, by_age in sorted(errors.items()):
        found = [sqrt(sum(e * e for e in by_age[age]) / len(by_age[age])) for age in _COMPARED]
        print(f"| {tool} | " + " | ".join(f"{each:.4f}" for each in found) + " |")


def ask(python: str, events: Events, now: float) -> dict[str, list[float]]:
    """Return the accuracies of all days by each peer."""
    script = [python, "-m", "bench.late.peers"]
    asked = json.dumps({"triangles": triangles(events, now), "delays": delays(events, now)})
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


def delays(events: Events, now: float) -> dict[str, list[float]]:
    """Return the delays of the mature items in days, by outcome."""
    mature = events.labelled & (events.time < now - MATURITY) & (events.time + events.delay <= now)
    return {
        name: (events.delay[mature & outcome] / DAY).tolist()
        for name, outcome in (("right", events.right), ("wrong", ~events.right))
    }


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
        "--seeds", type=int, default=100, help="simulations of each world (default: 100)"
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
