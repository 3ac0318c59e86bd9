"""A row of a table: a prediction and, where it is known, its truth."""

from typing import NamedTuple

from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.model_key import ModelKey


class TableRow(NamedTuple):
    """One row of a CSV file, a Parquet file, a file of JSON lines or a DataFrame.

    ``answer`` and ``truth`` are one row of values each, or the body of a JSON message that has them
    (an Open Inference Protocol response); None where the row has none. Times are nanoseconds since
    1970, ``reward`` is in millionths.
    """

    key: ModelKey
    request_id: str
    time: int
    feedback_time: int
    answer: PayloadRows | bytes | None
    truth: PayloadRows | bytes | None
    reward: int | None
