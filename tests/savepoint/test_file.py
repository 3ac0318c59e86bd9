"""Whatever is wrong with a savepoint's file is a clear error, and never other counts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.log.observations import IngestMode
from processor.domain.savepoint.contents import End, Requests
from processor.domain.timestamps import HOUR
from processor.errors import SavepointError
from processor.savepoint.commands import written
from processor.savepoint.file import SavepointReader, SavepointWriter
from processor.savepoint.transfer import checked
from tests.savepoint.whole_app import WholeApp, moved, reader, saved
from tests.support.domain.join_batches import feedback, prediction
from tests.support.domain.join_model import request_name


def savepoint() -> bytes:
    """A small savepoint with blocks of all kinds."""
    app = WholeApp(2, 24 * HOUR)
    app.pass_time(100 * HOUR)
    names = [request_name(number) for number in range(8)]
    app.put(IngestMode.NORMAL, [prediction(name, time=99 * HOUR) for name in names])
    app.put(IngestMode.NORMAL, [feedback(name, time=99 * HOUR + 1) for name in names[:5]])
    app.put(IngestMode.COUNT_AND_DROP, [prediction("done", time=HOUR)])
    return saved(app)


CONTENT = savepoint()


def test_all_blocks_are_read() -> None:
    end, buckets = checked(reader(CONTENT))
    assert (end.requests, end.fingerprints) == (8, 1)
    assert buckets == 3  # of the one that was not kept: its minute has expired
    (totals,) = end.models
    assert (totals.predictions, totals.judged, totals.correct) == (9, 5, 5)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_an_error(at: int, change: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[at] ^= change
    with pytest.raises(SavepointError, match=r"damaged|not a savepoint|format \d+|ends in block"):
        checked(reader(bytes(damaged)))


@given(st.integers(0, len(CONTENT) - 1))
def test_a_file_that_ends_early_is_an_error(size: int) -> None:
    with pytest.raises(SavepointError, match=r"not a savepoint|ends in block"):
        checked(reader(CONTENT[:size]))


def test_blocks_that_are_missing_or_too_many_are_errors() -> None:
    with pytest.raises(SavepointError, match="there is more after its last block"):
        checked(reader(CONTENT + b"\0"))
    file = io.BytesIO()
    SavepointWriter(file).write(End(0, 0, 0, 0, 0, {}, []))
    with pytest.raises(SavepointError, match="first block is not a header"):
        reader(file.getvalue())


def test_a_later_format_and_another_file_are_named() -> None:
    later = CONTENT.replace(b"savepoint 2\n", b"savepoint 3\n", 1)
    with pytest.raises(SavepointError, match="the file is a savepoint of format 3, this release"):
        reader(later)
    with pytest.raises(SavepointError, match="the file is not a savepoint: give a file that"):
        reader(b'{"headers": {}}\n')


def test_requests_without_tables_are_an_error() -> None:
    file = io.BytesIO()
    writer = SavepointWriter(file)
    writer.write(reader(CONTENT).header)
    writer.write(Requests(0, False, 0, 0, 1, (0, 0, 0), [], [], []))
    with pytest.raises(SavepointError, match="requests before any tables"):
        moved(file.getvalue(), WholeApp(1, HOUR))


def test_two_saves_at_once_are_not_mixed(tmp_path: Path) -> None:
    """The second is an error; what a killed one left behind is replaced by the next."""
    path, part = tmp_path / "state.savepoint", tmp_path / "state.savepoint.part"
    part.write_bytes(b"left behind, and longer than the next")
    with written(str(path)) as file:
        file.write(b"first")
        with (
            pytest.raises(SavepointError, match="is being written by another save"),
            written(str(path)),
        ):
            pass
    assert path.read_bytes() == b"first"
    with pytest.raises(SavepointError), written(str(path)) as file:
        checked(SavepointReader(io.BytesIO(b"second"), "another file"))
    assert path.read_bytes() == b"first"
    assert not part.exists()
    with pytest.raises(SavepointError, match="can't be written: No such file"):
        written(str(tmp_path / "none/state")).__enter__()
