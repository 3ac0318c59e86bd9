"""Packages that only the peers need: fetched on first use, into the project's cache."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import ServerError
from tests.support.servers.maven import Artifact, cache_folder, fetch_jars

_SECONDS = 300


class PeerMissing(Exception):
    """A peer can't be installed here; the message says why, in one line."""


def python_with(name: str, packages: Sequence[str]) -> Path:
    """The Python of a virtual environment with these packages, made if need be."""
    key = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:8]
    folder = cache_folder() / f"bench-{name}-{key}"
    python, whole = folder / "bin" / "python", folder / "whole"
    # An environment can't be made elsewhere and moved, so a mark says that it is whole.
    if not whole.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", *packages])
        whole.touch()
    return python


def java_classes(name: str, sources: Path, artifacts: Sequence[Artifact]) -> str:
    """The class path of all `*.java` in a folder, compiled against these jars."""
    files = sorted(sources.glob("*.java"))
    text = b"\0".join(file.read_bytes() for file in files)
    classes = cache_folder() / name / f"classes-{hashlib.sha256(text).hexdigest()[:8]}"
    javac = shutil.which("javac")
    if javac is None:
        raise PeerMissing("javac is not on PATH: install a JDK (Debian: default-jdk-headless)")
    try:
        library = fetch_jars(name, artifacts)
    except ServerError as error:
        raise PeerMissing(_one_line(str(error))) from None
    class_path = f"{library}/*"
    if not classes.is_dir():
        partial = classes.with_name("partial-classes")
        shutil.rmtree(partial, ignore_errors=True)
        _run([javac, "-d", str(partial), "-cp", class_path, *map(str, files)])
        partial.rename(classes)
    return f"{classes}:{class_path}"


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(_one_line(str(error))) from None
    if done.returncode != 0:
        raise PeerMissing(f"{Path(command[0]).name} failed: {_one_line(done.stderr)}")


def _one_line(text: str) -> str:
    """The last line that tells something; table cells hold no bar."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[-1].replace("|", "/")[:300]
