"""The file of ``--resume``: the pages that a replay has read from Elasticsearch, so that an interrupted
replay continues where it stopped.

The observations of each page are appended together with the position that they reach. However a process
ends, at most one page per shard is read again, and the state is never written as a whole. A frame is its
length, its checksum and its compressed content; bytes after the last valid frame were left by a process
that was killed, and are dropped.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from struct import Struct as Layout
from types import TracebackType
from typing import Any, BinaryIO, Self
from zlib import crc32

import click
import msgspec

from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import format_time
from processor.errors import ProcessorError, SettingsError
from processor.replay.fold import FoldedDocuments

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

_MAGIC = b"processor-replay\n"
_FRAME = Layout("<II")
#: Largest frame; a page of documents takes far less.
_MAX_BYTES = 1 << 30
_LEVEL = 1


class Entry(msgspec.Struct, array_like=True):
    """One page of a shard; ``position`` is the sequence number up to which the shard is read with it."""

    index: str
    uuid: str
    shard: int
    position: int
    folded: FoldedDocuments


class JournalHeader(msgspec.Struct):
    """The inputs that the entries depend on, as text that can be shown; see `_NAMES`."""

    source: str
    index: str
    as_of: str
    models: str
    version: str

    @classmethod
    def of(cls, source: str, index: str, as_of: int | None, rules: ModelRules) -> Self:
        """Describe a replay of ``source`` (an address without credentials) and an index pattern, with
        ``as_of`` in ns and the rules of the models file."""
        return cls(
            source,
            index,
            "none" if as_of is None else format_time(as_of),
            msgspec.json.encode(rules.entries).decode(),
            f"{version('feedback-metrics-processor')}, format {SCHEMA_VERSION}",
        )


#: The name of each field in messages.
_NAMES = {
    "source": "Elasticsearch",
    "index": "--index",
    "as_of": "--as-of",
    "models": "the models file",
    "version": "the processor's version",
}
_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


class Journal:
    """The file of ``--resume``, as a context manager: it is removed when the block ends without an
    error."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. `ProcessorError` if that fails, or if another process has it open."""
        self._path = path
        self.positions: dict[tuple[str, int], int] = {}
        """The sequence number up to which each shard is read, by index uuid and shard number."""
        self._indices: dict[str, str] = {}
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ProcessorError(f"{path} is in use by another process: wait for its end") from None
        except OSError as error:
            raise self._explain(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._path.unlink(missing_ok=True)
        elif self.positions:
            click.echo(
                f"processor: what was read is kept in {self._path}: run the same command to continue",
                err=True,
            )
        self._file.close()

    def entries(self, header: JournalHeader) -> Iterator[Entry]:
        """The entries of an earlier run; `add` appends after them. `SettingsError` if the file has
        another header, or is not a journal."""
        try:
            yield from self._entries(header)
        except OSError as error:
            raise self._explain(error) from None

    def _entries(self, header: JournalHeader) -> Iterator[Entry]:
        file = self._file
        if not os.fstat(file.fileno()).st_size:
            self._write(_MAGIC + _framed(_encode(header)))
            return
        head = file.read(len(_MAGIC))
        content = _unframed(file) if head == _MAGIC else None
        if content is None:
            raise SettingsError(
                f"{self._path} is not a file that --resume has made: name another one"
            )
        self._check(msgspec.msgpack.decode(content), header)
        valid_end = file.tell()
        while (content := _unframed(file)) is not None:
            valid_end = file.tell()
            entry = _decode_entry(content)
            self._note(entry)
            yield entry
        file.seek(valid_end)
        file.truncate()

    def add(self, entry: Entry) -> None:
        """Append a page. `ProcessorError` if it can't be written."""
        self._note(entry)
        try:
            self._write(_framed(_encode(entry)))
        except OSError as error:
            raise self._explain(error) from None

    def check_indices(self, uuids: set[str]) -> None:
        """Raise `SettingsError` if an index that entries come from no longer exists; ``uuids`` are those
        of the existing ones."""
        for uuid, index in self._indices.items():
            if uuid not in uuids:
                raise SettingsError(
                    f"{self._path} holds what was read of {index}, which was deleted or made anew "
                    "since: remove the file to read everything again"
                )

    def _note(self, entry: Entry) -> None:
        self.positions[entry.uuid, entry.shard] = entry.position
        self._indices[entry.uuid] = entry.index

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()

    def _check(self, found: Any, header: JournalHeader) -> None:
        """Raise `SettingsError` unless the header that was found equals ``header``. Compared field by
        field, since another version may have other fields."""
        found = found if isinstance(found, dict) else {}
        for field, name in _NAMES.items():
            was, wanted = found.get(field), getattr(header, field)
            if was != wanted:
                what = "differs" if field == "models" else f"was {was}, not {wanted}"
                raise SettingsError(
                    f"{self._path} is of another replay: {name} {what}: give the same again, or name "
                    "another file"
                )

    def _explain(self, error: OSError) -> ProcessorError:
        return ProcessorError(f"{self._path} can't be used: {error.strerror or error}")


def _framed(content: bytes) -> bytes:
    packed = zstd.compress(content, _LEVEL)
    return _FRAME.pack(len(packed), crc32(packed)) + packed


def _unframed(file: BinaryIO) -> bytes | None:
    """The content of the next frame; None at the end of the file, or where the frame is incomplete."""
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(head)
    packed = file.read(length) if length <= _MAX_BYTES else b""
    if len(packed) < length or crc32(packed) != checksum:
        return None
    return bytes(zstd.decompress(packed))
