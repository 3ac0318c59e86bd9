"""Pack request ids: the digits of a UUID or other hexadecimal ones to half their length, letters and
digits to three quarters, each with one byte before them for the form."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import unhexlify
from functools import lru_cache

#: The longest id that is packed, in bytes.
MAX_BYTES = 64
#: The first byte: the length of a text; of the prefix of a UUID, or of 32 hexadecimal digits after it;
#: the number of hexadecimal digits, or of characters of base64 for URLs, of an id that has only these.
_TEXT, _UUID, _DIGITS = 0, MAX_BYTES + 1, MAX_BYTES + 1 + 29
_HEX = _DIGITS + 33
_BASE64 = _HEX + 31
_KEY = 16

_UUID_END = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_DIGITS_END = re.compile(rb"[0-9a-f]{32}\Z")
_ALL_HEX = re.compile(rb"[0-9a-f]{1,31}\Z")
#: Shorter ids do not get shorter as base64.
_ALL_BASE64 = re.compile(rb"[0-9A-Za-z_-]{4,}\Z")


@lru_cache(maxsize=1024)  # a request is looked for, and then changed
def pack_id(request_id: str) -> bytes | None:
    """The packed form of an id; None if it is longer than 64 bytes. No two ids share a form.

    >>> pack_id("0a1b2c3d-0000-4000-8000-00000000000f").hex()
    '410a1b2c3d00004000800000000000000f'
    >>> pack_id("r.1"), pack_id("req-0a1b2c3d00004000800000000000000f")[:5]
    (b'\\x03r.1', b'breq-')
    >>> pack_id("1000000042").hex(), pack_id("order-17").hex()
    ('891000000042', 'a6a2b75eafed7b')
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
    if _ALL_HEX.match(text):
        return bytes((_HEX + size,)) + unhexlify(b"0" * (size % 2) + text)
    if _ALL_BASE64.match(text):
        return (
            bytes((_BASE64 + size,)) + urlsafe_b64decode(text + b"A" * (-size % 4))[: _bytes(size)]
        )
    return bytes((_TEXT + size,)) + text


def _bytes(size: int) -> int:
    """The bytes of so many characters of base64."""
    return (size * 6 + 7) // 8


def packed_length(first: int) -> int:
    """The length of a packed id, by its first byte."""
    if first < _UUID:
        return 1 + first
    if first < _HEX:
        return 1 + _KEY + first - (_UUID if first < _DIGITS else _DIGITS)
    return 1 + ((first - _HEX + 1) // 2 if first <= _BASE64 else _bytes(first - _BASE64))


def unpack_id(packed: bytes) -> str:
    """The request id of a packed form.

    >>> unpack_id(pack_id("req-0a1b2c3d-0000-4000-8000-00000000000f"))
    'req-0a1b2c3d-0000-4000-8000-00000000000f'
    """
    first, text = packed[0], packed[1:]
    if first > _BASE64:
        return urlsafe_b64encode(text + bytes(-len(text) % 3))[: first - _BASE64].decode()
    if first > _HEX:
        return text.hex()[(first - _HEX) % 2 :]
    if first >= _UUID:
        digits = text[-_KEY:].hex()
        if first < _DIGITS:
            digits = "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
        text = text[:-_KEY] + digits.encode()
    return text.decode("utf-8", "surrogatepass")
