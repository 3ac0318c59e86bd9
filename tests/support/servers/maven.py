"""Server programs from Maven Central, fetched once into the project's cache."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_PROJECT = Path(__file__).resolve().parents[3]

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>servers</artifactId><version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""


class ServerError(Exception):
    """A test server could not be fetched, started or stopped; the message says what to do."""


class Artifact(NamedTuple):
    group: str
    name: str
    version: str

    def as_xml(self) -> str:
        return (
            f"<dependency><groupId>{self.group}</groupId><artifactId>{self.name}</artifactId>"
            f"<version>{self.version}</version></dependency>"
        )


def find_program(name: str, packages: str) -> str:
    """The path of a program, or a ServerError that names the packages to install."""
    path = shutil.which(name)
    if path is None:
        raise ServerError(
            f"{name} is not on PATH: install it (Debian: apt-get install {packages}), "
            "or give the address of a running broker in PROCESSOR_TEST_KAFKA"
        )
    return path


def cache_folder() -> Path:
    """`.cache` under the project, or PROCESSOR_TEST_CACHE."""
    return Path(os.environ.get("PROCESSOR_TEST_CACHE") or _PROJECT / ".cache")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch_jars(name: str, artifacts: Sequence[Artifact]) -> Path:
    """The folder `<cache>/<name>/lib` with the jars and all that they need at run time."""
    folder = cache_folder() / name
    library = folder / "lib"
    if library.is_dir():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        if library.is_dir():
            return library
        # Under another name until it is whole: an interrupted fetch must not look like a cache.
        partial = folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        _copy_dependencies(folder / "pom.xml", partial, artifacts)
        partial.rename(library)
    return library


def _copy_dependencies(pom: Path, target: Path, artifacts: Sequence[Artifact]) -> None:
    mvn = find_program("mvn", "maven")
    pom.write_text(_POM.format(dependencies="".join(item.as_xml() for item in artifacts)))
    done = subprocess.run(
        [mvn, "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies",
         "-DincludeScope=runtime", f"-DoutputDirectory={target}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
    )  # fmt: skip
    if done.returncode != 0 or not any(target.glob("*.jar")):
        output = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ServerError(f"mvn could not fetch {', '.join(map(str, artifacts))}:\n{output}")
