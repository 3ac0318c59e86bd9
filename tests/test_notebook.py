"""The example notebook, run by a real kernel: its cells run inside the kernel's event loop."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "notebook.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "store it without outputs"
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    table, matrix, compared, report = (cell.outputs[-1].data for cell in code[-4:])
    assert "tree" in table["text/html"]
    assert "class_0" in matrix["text/html"]
    assert "Comparison" in compared["text/html"]
    assert "McNemar" in compared["text/html"]
    assert report["text/html"].startswith("<iframe srcdoc=")
