"""The pages on files and on the Python API: their blocks run in order, and print what the page says."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("how-to/evaluate-a-file.md", "api.md")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: The name of a file whose content is the next block.
_FILE = re.compile(r"`([\w.]+\.(?:csv|jsonl))`")


def printed_by_shell(code: str, folder: Path) -> str:
    """What commands print, without the lines of progress."""
    scripts = Path(sys.executable).parent
    env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
    env["PATH"] = f"{scripts}:{env['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", code], cwd=folder, env=env, timeout=120, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    lines = [line for line in ran.stdout.splitlines() if not line.startswith("reading ")]
    assert ran.returncode == (1 if lines and lines[0].startswith("processor: ") else 0), ran.stdout
    return "\n".join(lines).rstrip() + "\n"


@pytest.mark.parametrize("page", PAGES)
def test_blocks_print_what_stands_behind_them(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = (DOCS / page).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    printed = ""
    for block in _BLOCK.finditer(content):
        kind, code = block.groups()
        if kind in ("csv", "jsonl"):
            name = _FILE.findall(content[: block.start()])[-1]
            (tmp_path / name).write_text(code)
        elif kind == "sh" and not code.startswith("pip "):
            printed = printed_by_shell(code, tmp_path)
        elif kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, page, "exec"), names)
            printed = out.getvalue()
        elif kind == "text":
            assert printed == code
            printed = ""
