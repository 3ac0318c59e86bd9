"""The topic of the dead letters."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiokafka.structs import ConsumerRecord

from processor.dead_letters import topic as topic_module
from processor.dead_letters.topic import DeadLetterTopic
from processor.domain.events.dead_letters import RETRIED
from processor.settings import Settings


class _Log:
    """A partition with the marks of two retries."""

    def __init__(self, *_: object) -> None: ...

    async def read(self, begin: int, end: int) -> AsyncIterator[list[ConsumerRecord]]:
        yield [
            ConsumerRecord("letters", 0, 2 + n, 1000, 0, b"", None, None, 0, 0, [(RETRIED, mark)])
            for n, mark in enumerate((b"1", b"\xff"))
        ]


async def test_a_mark_that_is_not_text_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_module, "LogReader", _Log)
    letters = DeadLetterTopic(cast(Any, None), Settings())
    assert [letter async for letter in letters._read(0, 0, 4)] == []
    assert letters.retried == {"0/1": 1_000_000_000, "0/\N{REPLACEMENT CHARACTER}": 1_000_000_000}
