"""Records whose headers' names are no UTF-8.

Kafka takes any bytes for a name, the client raises at the first that is no text, each time anew: one
such record would stop its whole partition for ever, and take records of others along. So a batch at
which the client raises is read once more, such names with a sign in place of what is wrong.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def accept_lenient_headers() -> None:
    """From now on, in all consumers of this process. The client's version is pinned: what is
    replaced here has no public name."""
    fetcher.MemoryRecords = _Records


class _Records(_MemoryRecordsPy):  # type: ignore[misc]
    """What a fetch of one partition brought, batch by batch."""

    def next_batch(self, *arguments: Any) -> Any:
        raw = self._next_slice
        batch = super().next_batch(*arguments)
        return None if batch is None else _Batch(batch, raw)


class _Batch:
    """A batch as the client reads it, or as we do where it can't."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(list(_AnyNames(self.raw)))

    def __next__(self) -> Any:
        return next(self._batch)


class _AnyNames(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Buffer(self._buffer)


class _Buffer(bytearray):
    def __getitem__(self, at: Any) -> Any:
        part = super().__getitem__(at)
        return _Name(part) if isinstance(part, bytearray) else part


class _Name(bytes):
    def decode(self, *_: str) -> str:
        return str(self, "utf-8", "replace")
