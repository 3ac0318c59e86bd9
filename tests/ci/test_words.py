"""The check of names and sizes finds each kind of mistake, and nothing in a clean file."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", ROOT / ".ci" / "words.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


words = load()


def findings(root: Path, path: str, text: str) -> list[str]:
    """Write one file, and return what the check finds in it."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    found: list[str] = words.findings(root, [path])
    return found


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("processor/a.py", "way = ShortWay()\n", "processor/a.py:1: ShortWay is a coined name"),
        ("tests/a.py", "\nboard: CappedBoard\n", "tests/a.py:2: CappedBoard is a coined name"),
        (
            "native/src/a.rs",
            "let t = row.said_at;\n",
            "native/src/a.rs:1: said_at is a coined name",
        ),
        ("native/src/a.rs", "pub struct Ledger {}\n", "native/src/a.rs:1: Ledger says too little"),
        ("processor/a.py", "class Said(Struct):\n    ...\n", "processor/a.py:1: Said says too"),
        ("processor/standings.py", "", "processor/standings.py:1: the file's name is a coined one"),
        ("processor/a.py", "x = 1\n" * 401, "processor/a.py:1: 401 lines, at most 400"),
        (
            "processor/a.py",
            "class A:\n    async def f() -> None:\n" + "        x = 1\n" * 70,
            "processor/a.py:2: f has 71 lines, at most 70",
        ),
        ("processor/a.py", '"""Of a partition."""\n', "processor/a.py:1: the docstring has no"),
        (
            "processor/a.py",
            'def f() -> None:\n    """\n    What is left."""\n',
            "processor/a.py:2: the docstring has no subject",
        ),
        (
            "tests/a.py",
            "\nfrom tests.b.test_c import d\n",
            "tests/a.py:2: imports from a test module",
        ),
    ],
)
def test_a_mistake_is_found_with_its_line(
    tmp_path: Path, path: str, text: str, wanted: str
) -> None:
    found = findings(tmp_path, path, text)
    assert len(found) == 1
    assert found[0].startswith(wanted)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("processor/a.py", '"""Said and made: prose may use the words."""\nx = ["ShortWays"]\n'),
        ("processor/a.py", "x = 1\n" * 400),
        ("processor/a.py", "def f() -> None:\n" + "    x = 1\n" * 69),
        ("processor/a.py", 'def f() -> None:\n    """Offsets below the next one."""\n'),
        ("tests/a.py", '"""What a test says of itself is free."""\n' + "x = 1\n" * 500),
        ("docs/a.md", "ShortWay\n"),
    ],
)
def test_a_clean_file_has_no_finding(tmp_path: Path, path: str, text: str) -> None:
    assert findings(tmp_path, path, text) == []


def test_a_full_folder_is_found_unless_it_holds_data() -> None:
    full = [f"docs/{number}.md" for number in range(18)]
    assert list(words.full_folders(full)) == ["docs/: 18 files, at most 17; split it by subject"]
    assert list(words.full_folders(full[1:])) == []
    assert list(words.full_folders([f"tests/data/payloads/{path}" for path in full])) == []
    assert list(words.full_folders([f"docs/img/{number}.svg" for number in range(18)])) == []


def test_files_are_those_that_git_knows_or_would_add(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name in (".gitignore", "new.py", "ignored.py", "gone.py"):
        (tmp_path / name).write_text("ignored.py\n")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "gone.py").unlink()
    (tmp_path / "untracked.py").touch()
    assert words.known_files(tmp_path) == [".gitignore", "new.py", "untracked.py"]


def test_no_replacement_is_itself_a_coined_name() -> None:
    names = [better for _, better in words.NAMES]
    for better in names + list(words.CLASSES.values()):
        assert not list(words.coined_names("a.py", better)), better
        assert not re.search(rf"\b({'|'.join(words.CLASSES)})\b", better), better
    assert not set(words.FILES) & set(words.FILES.values())
