"""Packed bodies, unpacked within a bound."""

import zlib

from processor.domain.events.raw_event import DeadLetter

#: Of an unpacked body: no message of 20,000 rows is larger, and a bomb is.
MAX_BODY = 16 << 20
#: What a gzip stream begins with, and neither JSON nor a protobuf message does.
MAGIC = b"\x1f\x8b"

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def decompress(value: bytes | None) -> bytes | DeadLetter:
    """A body as it was before it was packed, empty where there is none."""
    # By its first bytes: Knative's receivers pass a packed body on without its content-encoding.
    if not value or value[:2] != MAGIC:
        return value or b""
    return decompress_gzip(value)


def decompress_gzip(data: bytes) -> bytes | DeadLetter:
    """What was packed with gzip or zlib; `too_large` over `MAX_BODY`.

    >>> import gzip
    >>> decompress_gzip(gzip.compress(b"{}"))
    b'{}'
    """
    parts = bytearray()
    while data:
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            parts += stream.decompress(data, MAX_BODY + 1 - len(parts))
        except zlib.error as error:
            return DeadLetter("bad_shape", f"the body can't be unpacked: {error}")
        if len(parts) > MAX_BODY:
            return DeadLetter("too_large", f"unpacked, the body is over {MAX_BODY} bytes")
        if not stream.eof:
            return DeadLetter("bad_shape", "the packed body is cut short")
        # gzip allows several streams, one after another.
        data = stream.unused_data
    return bytes(parts)
