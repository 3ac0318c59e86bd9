"""Curves over time in a picture for the docs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

_COLOURS = ("#2563eb", "#ea580c", "#059669", "#7c3aed")


class Panel(NamedTuple):
    """Lines by name over one axis, as x and y."""

    label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]


def draw(
    path: Path, title: str, x_label: str, panels: Sequence[Panel],
    marks: Mapping[str, Sequence[float]] | None = None,
) -> None:  # fmt: skip
    """Panels above each other, with the same x; ``marks`` are events by kind. A PNG."""
    figure = Figure(figsize=(9, 1 + 2 * len(panels)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        for colour, (name, (x, y)) in zip(_COLOURS, panel.lines.items(), strict=False):
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
