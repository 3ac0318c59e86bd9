"""Draw the rates in the results of `python -m bench` as bars: an SVG for the docs.

Curves over time, a PNG, are for the reports of the long runs.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from .support.command import parser

_COLOURS = {"processor": "#2563eb", "bare": "#9ca3af"}
_PEER = "#d1d5db"
_LINES = ("#2563eb", "#ea580c", "#059669", "#7c3aed")


def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.plot", __doc__, "bench/results.json docs/img/bench.svg")
    line.add_argument(
        "results", type=Path, nargs="?", default=Path("bench/results.json"),
        help="the file that `python -m bench --json` wrote (%(default)s)",
    )  # fmt: skip
    line.add_argument(
        "picture", type=Path, nargs="?", default=Path("docs/img/bench.svg"),
        help="the SVG to write (%(default)s)",
    )  # fmt: skip
    line.add_argument("--load", help="the load to draw (the first in the results)")
    options = line.parse_args(arguments)
    try:
        results = json.loads(options.results.read_text())
        load = options.load or next(iter(results["loads"]))
        figure = bars(results["machine"], load, results["loads"][load]["systems"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        print(
            f"bench: no results in {options.results} ({error!r}): "
            f"run `python -m bench --json {options.results}`",
            file=sys.stderr,
        )
        return 1
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    # Text stays text, and equal results make equal files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bench"}):
        figure.savefig(options.picture, format="svg", metadata={"Date": None})
    return 0


def bars(
    machine: Mapping[str, Any], load: str, systems: Sequence[Mapping[str, Any]]
) -> Figure:  # fmt: skip
    """A bar for each system that ran a load, as in the JSON of the results: its median rate and the
    range."""
    ran = [system for system in systems if system["rate"]]
    absent = [system["title"] for system in systems if not system["rate"]]
    rates = [system["rate"] for system in ran]
    medians = [rate["median"] for rate in rates]
    figure = Figure(figsize=(9, 1.4 + 0.32 * len(ran)), layout="constrained")
    title = f"Events per second, one worker, with the exact result: {load} load"
    figure.suptitle(title, weight="bold", size=11)
    axis = figure.subplots()
    axis.barh(
        [system["title"] for system in ran], medians,
        xerr=[
            [rate["median"] - rate["min"] for rate in rates],
            [rate["max"] - rate["median"] for rate in rates],
        ],
        color=[_COLOURS.get(system["system"], _PEER) for system in ran],
        ecolor="#111827", capsize=3,
    )  # fmt: skip
    for number, (system, rate) in enumerate(zip(ran, rates, strict=True)):
        text = f"{rate['median']:,.0f}  ({system['cpu_us']['median']:,.0f} µs)"
        axis.annotate(
            text, (rate["max"], number), (8, 0), textcoords="offset points", va="center", size=9
        )
    axis.invert_yaxis()
    axis.set_xlim(0, max(rate["max"] for rate in rates) * 1.25)
    axis.xaxis.set_visible(False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    runs = max(system["runs"] for system in ran)
    notes = [
        f"Median and range of {runs} runs; CPU per event. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, Kafka {machine['kafka']}"
    ]
    notes += [f"Left out: {', '.join(absent)}"] if absent else []
    figure.supxlabel("\n".join(notes), size=8, color="#6b7280")
    return figure


class Panel(NamedTuple):
    """Lines over one y axis, by name: their x and y."""

    label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


def draw_curves(
    path: Path, title: str, x_label: str, panels: Sequence[Panel],
    marks: Mapping[str, Sequence[float]] | None = None,
) -> None:  # fmt: skip
    """Draw a PNG: panels above each other with the same x axis; `marks` are the x of events, by kind."""
    figure = Figure(figsize=(9, 1 + 2 * len(panels)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        for colour, (name, (x, y)) in zip(_LINES, panel.lines.items(), strict=False):
            axis.plot(x, y, color=colour, linewidth=1, label=name)
        for style, (kind, places) in zip(("--", ":"), (marks or {}).items(), strict=False):
            for number, place in enumerate(places):
                axis.axvline(
                    place, color="#9ca3af", linestyle=style, linewidth=0.8,
                    label=kind if not number else None,
                )  # fmt: skip
        axis.set_ylabel(panel.label, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left")
    axes[-1].set_xlabel(x_label, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
