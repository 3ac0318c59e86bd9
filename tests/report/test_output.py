"""An output file is written as a whole or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.errors import ProcessorError
from processor.report.output import write_output


def _interrupted() -> Iterator[str]:
    yield "a" * 100_000
    raise KeyboardInterrupt


def test_an_interrupted_output_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for before in (None, "older"):
        if before is not None:
            path.write_text(before)
        with pytest.raises(KeyboardInterrupt):
            write_output(_interrupted(), path)
        assert [each.read_text() for each in tmp_path.iterdir()] == ([before] if before else [])


def test_what_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    write_output(["a\udc80\r\n", "b"], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"a\\udc80\r\nb"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcessorError, match=r"missing.*can't be written"):
        write_output(["a"], tmp_path / "missing" / "out")
