"""Draw the rates in the results of `python -m bench` as bars: an SVG for the docs.

Curves over time, a PNG, are for the reports of the long runs.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from .support.command import parser

_WIDTH, _LABELS, _BARS, _ROW, _TOP = 860, 270, 370, 30, 58
_COLOURS = {"processor": "#2563eb", "bare": "#9ca3af"}
_PEER = "#d1d5db"
_LINES = ("#2563eb", "#ea580c", "#059669", "#7c3aed")


def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.plot", __doc__, "bench/results.json docs/img/bench.svg")
    line.add_argument(
        "results", type=Path, nargs="?", default=Path("bench/results.json"),
        help="what `python -m bench --json` wrote (%(default)s)",
    )  # fmt: skip
    line.add_argument(
        "picture", type=Path, nargs="?", default=Path("docs/img/bench.svg"), help="(%(default)s)"
    )
    options = line.parse_args(arguments)
    try:
        results = json.loads(options.results.read_text())
        picture = svg(results["machine"], results["systems"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"bench: no results in {options.results} ({error!r}): "
            f"run `python -m bench --json {options.results}`",
            file=sys.stderr,
        )
        return 1
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    options.picture.write_text(picture)
    return 0


def svg(machine: Mapping[str, Any], systems: Sequence[Mapping[str, Any]]) -> str:
    """A bar for each system's median of events/s, a line from its least to its most."""
    ran = [system for system in systems if system["rate"]]
    absent = [system["title"] for system in systems if not system["rate"]]
    scale = _BARS / max(system["rate"]["max"] for system in ran)
    runs = max(system["runs"] for system in ran)
    height = _TOP + _ROW * len(ran) + (24 if absent else 8)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 22, "Events per second, one worker, with the exact result", weight="bold"),
        _text(
            12, 42,
            f"Median and range of {runs} runs; CPU per event. {machine['cpu']}, "
            f"{machine['cores']} cores, {machine['memory_gib']} GiB, Kafka {machine['kafka']}",
            fill="#6b7280", size=11,
        ),
    ]  # fmt: skip
    for number, system in enumerate(ran):
        lines += _bar(system, _TOP + _ROW * number, scale)
    if absent:
        left_out = f"Left out: {', '.join(absent)}"
        lines.append(_text(12, height - 8, left_out, fill="#6b7280", size=11))
    return "\n".join([*lines, "</svg>", ""])


def _bar(system: Mapping[str, Any], top: int, scale: float) -> list[str]:
    rate, cost = system["rate"], system["cpu_us"]["median"]
    middle, end = top + 10, _LABELS + rate["median"] * scale
    low, high = _LABELS + rate["min"] * scale, _LABELS + rate["max"] * scale
    colour = _COLOURS.get(system["system"], _PEER)
    weight = "bold" if system["system"] == "processor" else "normal"
    return [
        _text(_LABELS - 10, middle + 4, system["title"], anchor="end", weight=weight),
        f'<rect x="{_LABELS}" y="{top}" width="{end - _LABELS:.1f}" height="20" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} '
        f'{middle - 4}v8" stroke="#111827" fill="none"/>',
        _text(
            round(max(end, high)) + 8, middle + 4, f"{rate['median']:,.0f}  ({cost:,.0f} µs)",
            weight=weight,
        ),
    ]  # fmt: skip


def _text(
    x: int, y: int, text: str, *, anchor: str = "start", weight: str = "normal",
    fill: str = "#111827", size: int = 13,
) -> str:  # fmt: skip
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


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
