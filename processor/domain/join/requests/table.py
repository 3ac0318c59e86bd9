"""The tables of a state's requests: packed requests by deployment and request id."""

from typing import Protocol, runtime_checkable

from processor.domain.join.requests.python_table import PythonRequestTable, TableOutline
from processor.domain.native import native, use_native


@runtime_checkable
class RequestTable(Protocol):
    """Packed requests (see `RequestCodec`) by deployment and request id. Deployments count from 0."""

    def __len__(self) -> int: ...
    def add_deployment(self) -> None:
        """Add an empty table for the next deployment."""
        ...

    def get(self, deployment: int, request_id: str) -> bytes | None:
        """A packed request, None if there is none."""
        ...

    def put(self, deployment: int, request_id: str, request: bytes) -> None:
        """Add or replace a packed request."""
        ...

    def remove(self, deployment: int, request_id: str) -> None:
        """Remove a request that is there."""
        ...

    def parts(self, deployment: int) -> int:
        """The number of parts in which a deployment's requests can be read."""
        ...

    def part(self, deployment: int, number: int) -> list[tuple[str, bytes]]:
        """The requests of one part. A request that is added, changed or removed between two parts may
        come twice or not at all."""
        ...

    def unmatched(self) -> list[tuple[int, str]]:
        """Every request that has feedback and no prediction."""
        ...

    def oldest(self) -> int | None:
        """The log hour in which the oldest request was first seen, None if there is none."""
        ...

    def expire(self, before: int) -> tuple[int, int, int]:
        """Drop requests first seen before a log hour. Returns how many, how many of them had only
        predictions, and how many only feedback."""
        ...

    def approx_bytes(self) -> int:
        """About how many bytes of memory the requests take."""
        ...

    def used(self) -> tuple[set[int], set[int], set[int], set[int]]:
        """The positions of models, answers, truths and deployments that requests refer to."""
        ...

    def renumber(
        self,
        models: dict[int, int],
        answers: dict[int, int],
        truths: dict[int, int],
        deployments: dict[int, int],
    ) -> None:
        """Replace all positions by new ones, and drop the tables of other deployments."""
        ...

    def outline(self) -> list[TableOutline]:
        """The tables without the content of their buckets."""
        ...

    def fill(self, content: bytes, sizes: list[int]) -> None:
        """Fill the next buckets of an outline. `ValueError` if the content is malformed."""
        ...

    def begin_copy(self) -> None:
        """Begin to copy the buckets as they are now; an earlier copy becomes void."""
        ...

    def copy(self, count: int) -> tuple[bytes, list[int]] | None:
        """Copy up to ``count`` further buckets of one table, as they were at the beginning: their
        content and their sizes. None after the last one."""
        ...

    def end_copy(self) -> None:
        """Give up a copy: buckets that change need not be kept any more."""
        ...

    def copy_progress(self) -> tuple[int, int] | None:
        """How many buckets were copied of the table whose turn it is, and how many buckets were kept
        because they changed; None if no copy is made."""
        ...


def new_table(outline: list[TableOutline] | None = None) -> RequestTable:
    """An empty table, or one with the outline of another; native if possible."""
    if use_native:
        return native.RequestTable(outline or [])
    return PythonRequestTable(outline or [])
