"""Compressed bodies, decompressed up to a bound."""

import zlib

from processor.domain.events.raw_event import DeadLetter

#: The largest decompressed body in bytes: more than any message of 20,000 rows needs, and a bound for
#: decompression bombs.
MAX_BODY = 16 << 20
#: The start of a gzip stream; neither JSON nor a protobuf message starts like this.
MAGIC = b"\x1f\x8b"

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def decompress(value: bytes | None) -> bytes | DeadLetter:
    """Return a body decompressed if it is a gzip stream; empty if there is none."""
    # By its first bytes: Knative's receivers pass a compressed body on without its content-encoding.
    if not value or value[:2] != MAGIC:
        return value or b""
    return decompress_gzip(value)


def decompress_gzip(data: bytes) -> bytes | DeadLetter:
    """Decompress gzip or zlib data; the dead letter is `too_large` above `MAX_BODY`.

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
        # A gzip file may consist of several streams.
        data = stream.unused_data
    return bytes(parts)
