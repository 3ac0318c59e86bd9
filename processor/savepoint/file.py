"""The file of a savepoint, block by block: see docs/savepoint-file.md.

The first line names the format and its version. A block is its number, the length of its content and a
CRC-32 (4 bytes each, the lowest first), and its content: MessagePack, compressed with Zstandard.
"""

import sys
import zlib
from collections.abc import Iterator
from struct import Struct as Layout
from typing import BinaryIO

import msgspec

from processor.domain.savepoint.contents import Block, End, Header, Requests
from processor.errors import SavepointError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: The version of the format that this release writes, and the first one that it reads: no release wrote
#: an earlier one.
VERSION, _FIRST = 2, 2
_TITLE = b"feedback-metrics savepoint "
_HEAD = Layout("<III")
#: More than any block has, so that a damaged length is not taken for one.
_MAX_BLOCK = 1 << 30
#: The fastest level compresses planes best: what it leaves to the entropy coder is what they are.
_LEVEL = 1
#: The bytes from which on a part of a block is compressed by itself.
_APART = 1 << 12

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode


class SavepointWriter:
    """Writes a savepoint to an open file; `End` must be the last block."""

    def __init__(self, file: BinaryIO) -> None:
        self.bytes = 0
        """The bytes written so far."""
        self._file = file
        self._blocks = 0
        self._write(_TITLE + b"%d\n" % VERSION)

    def write(self, block: Block) -> None:
        """Write the next block."""
        content = _compressed(block)
        self._write(_HEAD.pack(self._blocks, len(content), _checksum(self._blocks, content)))
        self._write(content)
        self._blocks += 1

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self.bytes += len(content)


class SavepointReader:
    """Reads a savepoint from an open file; ``name`` is used in errors.

    Every method raises `SavepointError` if the file is not a savepoint, is damaged, or has a format that
    this release does not know.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.bytes = 0
        """The bytes read so far."""
        self._file = file
        self._name = name
        self._number = 0
        self._check_title()
        first = self._next()
        if not isinstance(first, Header):
            raise self._damaged("the first block is not a header")
        self.header = first

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks after the header; the last one is the `End`."""
        while True:
            block = self._next()
            yield block
            if isinstance(block, End):
                break
        if self._file.read(1):
            raise self._damaged("there is more after its last block")

    def _check_title(self) -> None:
        title = self._file.readline(len(_TITLE) + 12)
        self.bytes += len(title)
        version = title.removeprefix(_TITLE).strip()
        if not title.startswith(_TITLE) or not version.isdigit():
            raise SavepointError(
                f"{self._name} is not a savepoint: give a file that `processor savepoint save` wrote"
            )
        if not _FIRST <= int(version) <= VERSION:
            raise SavepointError(
                f"{self._name} is a savepoint of format {int(version)}, this release reads format "
                f"{VERSION}: use the release that wrote it"
            )

    def _next(self) -> Block:
        head = self._read(_HEAD.size)
        number, length, checksum = _HEAD.unpack(head)
        if number != self._number or length > _MAX_BLOCK:
            raise self._damaged("its head is not that of a block")
        content = self._read(length)
        if _checksum(number, content) != checksum:
            raise self._damaged("its checksum is wrong")
        try:
            block: Block = _decode(zstd.decompress(content))
        except (zstd.ZstdError, msgspec.MsgspecError) as error:
            raise self._damaged(str(error)) from None
        self._number += 1
        return block

    def _read(self, count: int) -> bytes:
        content = self._file.read(count)
        self.bytes += len(content)
        if len(content) < count:
            raise SavepointError(
                f"{self._name} ends in block {self._number}, before its last block: it was not "
                "written or copied to its end; save or copy it again"
            )
        return content

    def _damaged(self, why: str) -> SavepointError:
        return SavepointError(
            f"{self._name} is damaged in block {self._number}: {why}; copy it again, or save anew"
        )


def _compressed(block: Block) -> bytes:
    """A block in MessagePack, compressed; what its planes are like differs from one to the next."""
    content = _encode(block)
    if not isinstance(block, Requests):
        return zstd.compress(content, _LEVEL)
    planes = [_encode(plane) for plane in block.planes]
    compressor = zstd.ZstdCompressor(_LEVEL)
    parts: list[bytes] = []
    part = content[: len(content) - sum(map(len, planes))]
    for plane in planes:
        if len(plane) >= _APART:
            parts.append(compressor.compress(part, compressor.FLUSH_BLOCK))
            part = b""
        part += plane
    return b"".join((*parts, compressor.compress(part), compressor.flush()))


def _checksum(number: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(number.to_bytes(4, "little")))
