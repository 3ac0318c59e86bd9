"""Pack request ids: a UUID, or 32 digits, take 16 bytes and one for the form."""

import re
from binascii import unhexlify
from functools import lru_cache

#: The longest id that is packed, in bytes.
MAX_BYTES = 64
#: The first byte is the length of a text, or of the prefix of a UUID or of hexadecimal digits after it.
_TEXT, _UUID, _DIGITS = 0, MAX_BYTES + 1, MAX_BYTES + 1 + 29
_KEY = 16

_UUID_END = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_DIGITS_END = re.compile(rb"[0-9a-f]{32}\Z")


@lru_cache(maxsize=1024)  # a request is looked for, and then changed
def pack_id(request_id: str) -> bytes | None:
    """The packed form of an id; None if it is longer than 64 bytes. No two ids share a form.

    >>> pack_id("0a1b2c3d-0000-4000-8000-00000000000f").hex()
    '410a1b2c3d00004000800000000000000f'
    >>> pack_id("r1"), pack_id("req-0a1b2c3d00004000800000000000000f")[:5]
    (b'\\x02r1', b'breq-')
    """
    text = request_id.encode("utf-8", "surrogatepass")
    size = len(text)
    if size > MAX_BYTES:
        return None
    if size >= 36 and _UUID_END.match(text, size - 36):
        prefix, digits = text[:-36], text[-36:].replace(b"-", b"")
        return bytes((_UUID + len(prefix),)) + prefix + unhexlify(digits)
    if size >= 32 and _DIGITS_END.match(text, size - 32):
        return bytes((_DIGITS + size - 32,)) + text[:-32] + unhexlify(text[-32:])
    return bytes((_TEXT + size,)) + text


def packed_length(first: int) -> int:
    """The length of a packed id, by its first byte."""
    if first < _UUID:
        return 1 + first
    return 1 + _KEY + first - (_UUID if first < _DIGITS else _DIGITS)


def unpack_id(packed: bytes) -> str:
    """The request id of a packed form.

    >>> unpack_id(pack_id("req-0a1b2c3d-0000-4000-8000-00000000000f"))
    'req-0a1b2c3d-0000-4000-8000-00000000000f'
    """
    first, text = packed[0], packed[1:]
    if first >= _UUID:
        digits = text[-_KEY:].hex()
        if first < _DIGITS:
            digits = "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
        text = text[:-_KEY] + digits.encode()
    return text.decode("utf-8", "surrogatepass")
