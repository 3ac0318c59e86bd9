"""The picture holds every system of the JSON, to scale."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.plot import main
from bench.support.measure import Run
from bench.support.report import Results, write_json

MACHINE = {"cpu": "A & B", "cores": 2, "memory_gib": 8.0, "kafka": "3.9.1"}
SVG = "{http://www.w3.org/2000/svg}"


def _draw(tmp_path: Path) -> ElementTree.Element:
    rounds = [
        {name: Run(name, 1000, seconds, 0.02, 1) for name, seconds in one.items()}
        for one in ({"bare": 0.01, "processor": 0.02}, {"bare": 0.01, "processor": 0.04})
    ]
    titles = {"bare": "a <loop>", "processor": "ours", "quix": "Quix"}
    results, picture = tmp_path / "results.json", tmp_path / "img" / "bench.svg"
    write_json(results, Results(titles, rounds, {"quix": "not installed: no wheel"}), MACHINE, {})
    assert main([str(results), str(picture)]) == 0
    return ElementTree.fromstring(picture.read_text())


def test_bars_are_to_scale_and_named(tmp_path: Path) -> None:
    root = _draw(tmp_path)

    _, bare, ours = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert ours / bare == pytest.approx(37_500 / 100_000, abs=0.001)
    assert "a <loop>" in texts
    assert "37,500  (20 µs)" in texts
    assert texts[-1] == "Left out: Quix"
    assert any("A & B, 2 cores" in (text or "") for text in texts)


@pytest.mark.parametrize("content", [None, "no JSON", json.dumps({"systems": []})])
def test_no_results_say_how_to_get_them(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, picture = tmp_path / "results.json", tmp_path / "bench.svg"
    if content is not None:
        results.write_text(content)

    assert main([str(results), str(picture)]) == 1

    assert "run `python -m bench --json" in capsys.readouterr().err
    assert not picture.exists()
