"""What an `ObservationProducer` sends: a producer that keeps it, and the rows of its batches."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from processor.domain.log.observations import ObservationBatch


class KeepingProducer:
    """A producer that keeps what it is to send, and never acknowledges it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, dict[str, Any]]] = []

    async def send(self, topic: str, value: bytes | None, **more: Any) -> "asyncio.Future[object]":
        """Keep a record."""
        self.sent.append((topic, value, more))
        return asyncio.get_running_loop().create_future()


def rows_of(batch: object, partition: int = 0) -> Iterator[object]:
    """The rows of a batch, with the entries of dictionaries in place of positions."""
    assert isinstance(batch, ObservationBatch)
    answers = [
        (*msgspec.structs.astuple(each)[:3], batch.schemas[each.schema], each.width, each.labels)
        for each in batch.answers
    ]
    for row in batch.prediction_rows():
        name, model, *rest = msgspec.structs.astuple(row)
        listed = row.answers if isinstance(row.answers, list) else [row.answers]
        rest[3] = (type(row.answers), *[answers[at] for at in listed])
        yield partition, name, batch.models[model], repr(rest)
    for judged in batch.feedback_rows():
        name, model, *rest = msgspec.structs.astuple(judged)
        listed = judged.truth if isinstance(judged.truth, list) else [judged.truth or 0]
        found = None if judged.truth is None else [batch.truths[at] for at in listed]
        rest[3] = (type(judged.truth), found)
        yield partition, name, batch.models[model], repr(rest)
