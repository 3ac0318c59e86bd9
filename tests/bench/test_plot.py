"""The picture holds every system of the JSON, to scale."""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.plot import bars, main
from bench.support.measure import Run
from bench.support.report import Results, rows, write_json

MACHINE = {"cpu": "A & B", "cores": 2, "memory_gib": 8.0, "kafka": "3.9.1"}
SVG = "{http://www.w3.org/2000/svg}"


def _results() -> Results:
    rounds = [
        {name: Run(name, 1000, seconds, 0.02, 1) for name, seconds in one.items()}
        for one in ({"bare": 0.01, "processor": 0.02}, {"bare": 0.01, "processor": 0.04})
    ]
    titles = {"bare": "a <loop>", "processor": "ours", "quix": "Quix"}
    return Results(titles, rounds, {"quix": "not installed: no wheel"})


def test_bars_are_to_scale() -> None:
    (axis,) = bars(MACHINE, "plain", [asdict(row) for row in rows(_results())]).axes

    widths = [bar.get_width() for bar in axis.patches]  # type: ignore[attr-defined]
    assert widths == [100_000, 37_500]


def test_the_picture_names_systems_figures_and_machine(tmp_path: Path) -> None:
    results, picture = tmp_path / "results.json", tmp_path / "img" / "bench.svg"
    loads = {"mixed": Results({}), "plain": _results()}
    write_json(results, loads, MACHINE, {})
    assert main(["--load", "plain", str(results), str(picture)]) == 0

    root = ElementTree.fromstring(picture.read_text())
    texts = "\n".join(text for element in root.iter(f"{SVG}text") for text in element.itertext())
    for wanted in ("plain load", "a <loop>", "37,500  (20 µs)", "Left out: Quix", "A & B, 2 cores"):
        assert wanted in texts


@pytest.mark.parametrize("content", [None, "no JSON", json.dumps({"loads": {}})])
def test_no_results_say_how_to_get_them(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, picture = tmp_path / "results.json", tmp_path / "bench.svg"
    if content is not None:
        results.write_text(content)

    assert main([str(results), str(picture)]) == 1

    assert "run `python -m bench --json" in capsys.readouterr().err
    assert not picture.exists()
