"""Which topics the entries of PROCESSOR_TOPICS mean, with a broker that a test makes up."""

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from processor.kafka import source_topics
from processor.kafka.clients import Kafka
from processor.kafka.source_topics import SourceTopics
from processor.settings import Settings

_MISSING, _FORBIDDEN = 3, 29


class _Lister:
    """A broker with some topics, some of which this user may not see."""

    def __init__(self, *topics: str, forbidden: tuple[str, ...] = ()) -> None:
        self.topics = set(topics)
        self.forbidden = forbidden
        self.asked: list[list[str] | None] = []
        self.fault: BaseException | None = None
        self.hangs = False
        self.closed = 0

    async def ask(self, names: list[str] | None) -> dict[str, int]:
        self.asked.append(names)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        if names is None:
            return dict.fromkeys(self.topics, 0)
        return {
            name: _FORBIDDEN if name in self.forbidden else 0 if name in self.topics else _MISSING
            for name in names
        }

    async def close(self) -> None:
        self.closed += 1


def _source(lister: _Lister, *entries: str) -> SourceTopics:
    return SourceTopics(Kafka(Settings(), ("127.0.0.1:9",)), entries, lister)


async def test_names_are_asked_for_alone_and_patterns_for_all() -> None:
    lister = _Lister("a", "b", "logs-1")
    source = _source(lister, "a", "c")
    await source.check()
    assert (source.existing, source.missing, lister.asked) == (("a",), ("c",), [["a", "c"]])
    source = _source(lister, "^logs-", "^none", "b")
    await source.check()
    assert (source.existing, source.missing) == (("b", "logs-1"), ("^none",))


async def test_a_pattern_means_no_internal_topics() -> None:
    own = [f"app-{name}" for name in ("observations", "deltas", "control", "dead-letters")]
    source = _source(_Lister(*own, "__consumer_offsets", "orders"), "^.*")
    await source.check()
    assert source.existing == ("orders",)


async def test_a_topic_that_this_user_may_not_see_is_told_apart() -> None:
    for entries in (("a", "b"), ("^x", "a", "b")):
        source = _source(_Lister("b", "x", forbidden=("a",)), *entries)
        await source.check()
        assert (source.missing, source.forbidden) == (("a",), ("a",))


async def test_topics_that_appear_and_disappear_change_what_is_read() -> None:
    lister = _Lister()
    source = _source(lister, "a", "b")
    waiting = asyncio.create_task(source.wait())
    await source.check()
    assert not source.have_changed(())
    await asyncio.sleep(0)
    assert not waiting.done()
    lister.topics.add("b")
    await source.check()
    assert await waiting == ("b",)
    assert not source.have_changed(("b",))
    lister.topics = {"a", "b"}
    await source.check()
    assert source.have_changed(("b",))
    assert (await source.wait(), source.missing) == (("a", "b"), ())
    lister.topics = {"a"}
    await source.check()
    assert (source.have_changed(("a", "b")), source.missing) == (True, ("b",))


async def test_a_broker_that_is_away_keeps_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_topics, "PATIENCE", 0.01)
    lister = _Lister("a")
    source = _source(lister, "a")
    assert not source.was_asked
    lister.fault = KafkaConnectionError("Unable to bootstrap from []")
    await source.check()
    assert source.was_asked
    assert not source.checked
    lister.fault = None
    await source.check()
    assert source.broker_error is None
    lister.hangs = True
    await source.check()
    assert source.broker_error is not None
    assert source.broker_error.what == "Kafka at 127.0.0.1:9 gives no answer in 0.01 s"
    assert source.broker_error.remedy
    assert (source.existing, source.missing, lister.closed) == (("a",), (), 2)
