"""Request ids that are no UUID."""

from random import Random

_WORDS = ("order", "cart", "München", "claim", "über", "invoice", "batch", "retry")


def hexadecimal(rng: Random) -> bytes:
    """An id of 24 hexadecimal digits, as MongoDB makes them."""
    return f"{rng.getrandbits(96):024x}".encode()


def integer(rng: Random) -> bytes:
    """An id that a database counts up to."""
    return str(rng.randrange(10**12)).encode()


def free_text(rng: Random) -> bytes:
    """An id that an application makes of words and numbers."""
    words = "/".join(rng.choices(_WORDS, k=2))
    return f"{words}/{rng.randrange(10**10)}".encode()
