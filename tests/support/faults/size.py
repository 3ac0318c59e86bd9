"""How large a fault test is."""

from typing import NamedTuple


class Size(NamedTuple):
    """Events, how often a fault is repeated, by how much longer the load takes than a test says, and
    how long the numbers may take to become exact after it; the seconds of silence after which the
    broker takes a worker for dead."""

    events: int
    times: int
    stretch: float
    seconds: float
    session: int


#: For every run of the tests, and for `make chaos`.
SMALL = Size(40_000, 1, 1, 60, 3)
FULL = Size(200_000, 3, 3, 180, 10)
