"""Output to a file or standard output."""

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from processor.errors import ProcessorError


def write_output(text: Iterable[str], path: Path | None) -> None:
    """Write whole or not at all: an interrupted write leaves no half file. ``text`` comes in pieces;
    what UTF-8 can't hold is written as an escape."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.writelines(text)
        return
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe must stay one.
            _write(text, path)
            return
    except OSError as error:
        raise ProcessorError(f"{path} can't be written: {error.strerror or error}") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(text, temporary)
        temporary.replace(path)
    except OSError as error:
        raise ProcessorError(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write(text: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(text)
