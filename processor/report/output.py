"""Output to a file or standard output."""

import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from processor.errors import ProcessorError


def check_output(path: Path) -> None:
    """`ProcessorError` for a path that can't be written, before work is done for it."""
    folder = path.resolve().parent
    if path.is_dir():
        raise ProcessorError(f"{path} is a folder: name a file in it")
    if not folder.is_dir():
        raise ProcessorError(f"{path} can't be written: there is no folder {folder}: make it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise ProcessorError(f"{path} can't be written: you have no right to")


def write_output(text: Iterable[str], path: Path | None) -> None:
    """Write whole or not at all: an interrupted write leaves no half file. ``text`` comes in pieces;
    what UTF-8 can't hold is written as an escape."""
    if path is None:
        if sys.stdout is None:
            raise ProcessorError("standard output is closed: name a file with --output")
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
