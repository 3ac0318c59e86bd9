"""Results that are kept because the same input comes again."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """Results by their input: at most ``bound``, after which all are forgotten and collected anew.

    Forgetting everything costs less than finding the oldest entry at each read, and reads are those of
    a plain dictionary.

    >>> lengths = Memo[str, int](2)
    >>> lengths.add("a", 1), lengths.add("bb", 2), lengths.add("ccc", 3)
    (1, 2, 3)
    >>> lengths
    {'ccc': 3}
    """

    __slots__ = ("_bound",)

    def __init__(self, bound: int) -> None:
        super().__init__()
        self._bound = bound

    def add(self, key: K, value: V) -> V:
        """Keep a new result, and return it."""
        if len(self) >= self._bound:
            self.clear()
        self[key] = value
        return value
