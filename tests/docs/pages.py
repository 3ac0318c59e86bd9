"""The pages of the documentation, and their text."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

DOCS = ROOT / "docs"

#: Pages for contributors; their commands are not run here.
PAPERS = [
    *(ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((DOCS / "decisions").glob("*.md")),
]

PAGES = [
    ROOT / "README.md",
    ROOT / "deploy" / "README.md",
    *sorted(page for page in DOCS.rglob("*.md") if page not in PAPERS),
]


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")
