"""Pack request ids that are UUIDs into 16 bytes."""

from binascii import unhexlify
from collections.abc import Iterable, Sequence
from struct import Struct
from zlib import crc32

_KEY = Struct("16s")


def pack_id(request_id: str) -> bytes | None:
    """The 16 bytes of a UUID in lower case; None for any other text, so that no two ids share a key.

    >>> pack_id("0a1b2c3d-0000-4000-8000-00000000000f").hex()
    '0a1b2c3d00004000800000000000000f'
    >>> pack_id("0A1B2C3D-0000-4000-8000-00000000000F"), pack_id("r1")
    (None, None)
    """
    if len(request_id) != 36 or request_id[8:24:5] != "----":
        return None
    digits = request_id.replace("-", "")
    if digits != digits.lower():
        return None
    try:
        key = unhexlify(digits)
    except ValueError:
        return None
    return key if len(key) == 16 else None


def unpack_id(key: bytes) -> str:
    """The request id of a key.

    >>> unpack_id(pack_id("0a1b2c3d-0000-4000-8000-00000000000f"))
    '0a1b2c3d-0000-4000-8000-00000000000f'
    """
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def pack_ids(request_ids: Sequence[str]) -> Iterable[tuple[bytes | None, int]]:
    """The keys of many ids (see `pack_id`), each with its `crc32`: a cheap hash that does not protect
    against ids that were chosen to collide."""
    count, text = len(request_ids), "".join(request_ids)
    digits, dashes = text.replace("-", ""), "-" * count
    if (
        len(digits) == 32 * count
        and {*map(len, request_ids)} == {36}
        and all(text[i::36] == dashes for i in (8, 13, 18, 23))
        and digits == digits.lower()
    ):
        try:
            keys = [key for (key,) in _KEY.iter_unpack(unhexlify(digits))]
            return zip(keys, map(crc32, keys), strict=True)
        except ValueError:
            pass
    packed = map(pack_id, request_ids)
    return [(key, 0 if key is None else crc32(key)) for key in packed]
