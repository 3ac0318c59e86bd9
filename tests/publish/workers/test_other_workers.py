"""Asking other workers: what is asked when, who waits, and what stays of a worker that falls silent."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from processor.publish.workers import other_workers
from processor.publish.workers.answers import BodyDecoder
from processor.publish.workers.client import SilentWorkerError
from processor.publish.workers.other_workers import MAX_WORKERS, OtherWorkers, View
from tests.publish.served import Site
from tests.publish.workers.fakes import FakeClock, FakeGroup, FakeTransport, answer_of
from tests.support.fakes import FakeCounts

VIEW = View("models", (("window", "all"),))
decode = BodyDecoder(dict[str, int])
A, B = "http://10.0.0.1:9102/a", "http://10.0.0.2:9102/b"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def transport() -> FakeTransport:
    transport = FakeTransport()
    transport.answers = {
        "a": answer_of("a", {0: 5}, {"n": 1}),
        "b": answer_of("b", {1: 7}, {"n": 2}, models=9),
    }
    return transport


@pytest.fixture
def group() -> FakeGroup:
    return FakeGroup({A: [0], B: [1]})


@pytest.fixture
def others(group: FakeGroup, transport: FakeTransport, clock: FakeClock) -> OtherWorkers:
    return OtherWorkers(Site(FakeCounts({}), group=group), transport, clock)


async def ask(others: OtherWorkers) -> dict[str, tuple[int, float]]:
    """The number of each reply, and its age."""
    replies = await others.replies(VIEW, decode)
    return {reply.worker: (reply.body["n"], reply.age) for reply in replies}


async def quiet() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_all_are_asked_and_what_each_said_is_told_apart(
    others: OtherWorkers, transport: FakeTransport
) -> None:
    assert await ask(others) == {"a": (1, 0), "b": (2, 0)}
    assert transport.asked == [
        ("a", "/api/worker/models", {"window": "all"}),
        ("b", "/api/worker/models", {"window": "all"}),
    ]
    shown = {one.id: one for one in others.shown()}
    assert (shown["b"].address, shown["b"].models, shown["b"].partitions) == (
        "10.0.0.2:9102",
        9,
        (1,),
    )
    assert shown["b"].ok
    assert (others.count_all(), others.count_silent()) == (3, 0)


async def test_alone_nothing_is_asked(
    others: OtherWorkers, group: FakeGroup, transport: FakeTransport
) -> None:
    group.urls = {}
    assert not others.are_there
    assert await ask(others) == {}
    assert transport.asked == []
    assert others.count_all() == 1


async def test_ten_readers_cost_as_much_as_one(
    others: OtherWorkers, transport: FakeTransport, clock: FakeClock
) -> None:
    gate = transport.gates["a"] = asyncio.Event()
    readers = [asyncio.create_task(ask(others)) for _ in range(10)]
    await quiet()
    gate.set()
    found = await asyncio.gather(*readers)
    assert all(one == {"a": (1, 0), "b": (2, 0)} for one in found)
    assert len(transport.asked) == 2
    clock.now += 0.9
    await ask(others)
    assert len(transport.asked) == 2
    clock.now += 0.2
    await ask(others)
    assert len(transport.asked) == 4


async def test_a_reader_that_goes_away_takes_nothing_from_the_others(
    others: OtherWorkers, transport: FakeTransport
) -> None:
    gate = transport.gates["a"] = asyncio.Event()
    leaving, staying = asyncio.create_task(ask(others)), asyncio.create_task(ask(others))
    await quiet()
    leaving.cancel()
    await quiet()
    gate.set()
    assert await staying == {"a": (1, 0), "b": (2, 0)}


async def test_a_worker_that_falls_silent_keeps_its_last_answer_with_its_age(
    others: OtherWorkers, transport: FakeTransport, clock: FakeClock
) -> None:
    await ask(others)
    transport.answers["b"] = SilentWorkerError("it does not answer in time")
    clock.now += 40
    assert await ask(others) == {"a": (1, 0), "b": (2, 40)}
    (silent,) = [one for one in others.shown() if one.id == "b"]
    assert (silent.ok, silent.age_seconds, silent.reason) == (
        False,
        40.0,
        "it does not answer in time",
    )
    assert others.count_silent() == 1
    # Back again.
    transport.answers["b"] = answer_of("b", {1: 8}, {"n": 3})
    clock.now += 10
    assert await ask(others) == {"a": (1, 0), "b": (3, 0)}
    assert others.count_silent() == 0


async def test_readers_do_not_wait_again_for_a_worker_that_has_just_failed(
    others: OtherWorkers, transport: FakeTransport, clock: FakeClock
) -> None:
    transport.answers["b"] = SilentWorkerError("it does not answer in time")
    assert await ask(others) == {"a": (1, 0)}
    gate = transport.gates["b"] = asyncio.Event()
    transport.answers["b"] = answer_of("b", {1: 8}, {"n": 3})
    clock.now += 2
    assert await ask(others) == {"a": (1, 0)}  # at once, although the gate is shut
    gate.set()
    await quiet()
    assert await ask(others) == {"a": (1, 0), "b": (3, 0)}
    # After a long silence nobody relies on what was so then.
    transport.answers["b"] = SilentWorkerError("gone")
    clock.now += 5
    await ask(others)
    transport.gates["b"] = gate = asyncio.Event()
    clock.now += 60
    waiting = asyncio.create_task(ask(others))
    await quiet()
    assert not waiting.done()
    gate.set()
    await waiting


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answer_of("c", {1: 7}, {"n": 2}), "another worker answers at this address"),
        (answer_of("b", {8: 7}, {"n": 2}), "beyond the 8 of this app"),
        (answer_of("b", {-1: 7}, {"n": 2}), "beyond the 8 of this app"),
        (answer_of("b", {1: 7}, {"n": 2}, models=-1), "its numbers make no sense"),
        (answer_of("b", {1: 7}, {"n": "2"}), "another form: Expected `int`, got `str`"),
        (answer_of("b", {1: 7}, None), "another form"),
        (b'{"worker": "b"}', "another form: Object missing required field"),
        (b"<html>", "another form"),
        (b"[" * 100_000, "another form"),
        (b"", "another form"),
        (b"\xff\xfe", "another form"),
    ],
)
async def test_an_answer_that_is_wrong_is_none(
    others: OtherWorkers, transport: FakeTransport, answer: bytes, reason: str
) -> None:
    transport.answers["b"] = answer
    assert await ask(others) == {"a": (1, 0)}
    (wrong,) = [one for one in others.shown() if one.id == "b"]
    assert not wrong.ok
    assert reason in wrong.reason
    assert len(wrong.reason) <= 300


async def test_half_a_surrogate_pair_in_a_label_is_read(
    others: OtherWorkers, transport: FakeTransport
) -> None:
    transport.answers["b"] = answer_of("b", {1: 7}, {"n": 2}).replace(b'"n"', b'"n":1,"\\udcff"')
    assert (await ask(others))["b"] == (1, 0)


async def test_a_worker_that_has_left_is_listed_for_a_while_and_kept_while_needed(
    others: OtherWorkers, group: FakeGroup, clock: FakeClock
) -> None:
    await ask(others)
    group.urls = {A: [0, 1]}
    clock.now += 10
    assert await ask(others) == {"a": (1, 0), "b": (2, 10)}
    (left,) = [one for one in others.shown() if one.id == "b"]
    assert (left.ok, left.member, left.partitions, left.reason) == (
        False,
        False,
        (),
        "it has left the group",
    )
    assert others.count_all() == 2
    clock.now += 400
    others.forget_unneeded({"b"})
    assert set(await ask(others)) == {"a", "b"}
    others.forget_unneeded({"a"})
    assert set(await ask(others)) == {"a"}
    # However much it is needed, not for ever.
    group.urls = {}
    clock.now += 1
    assert others.are_there
    clock.now += 3600
    assert not others.are_there


async def test_a_worker_of_an_older_release_is_named(
    others: OtherWorkers, group: FakeGroup, transport: FakeTransport
) -> None:
    group.urls = {A: [0], "http://pod-1:6066": [1]}
    await ask(others)
    assert [asked[0] for asked in transport.asked] == ["a"]
    (old,) = [one for one in others.shown() if not one.ok]
    assert (old.id, old.partitions) == ("http://pod-1:6066", (1,))
    assert "its release is an older one" in old.reason


async def test_this_worker_is_none_of_the_others(
    group: FakeGroup, transport: FakeTransport, clock: FakeClock
) -> None:
    from processor.publish.workers.address import parse_worker_url

    site = Site(FakeCounts({}), group=group, address=parse_worker_url(A))
    others = OtherWorkers(site, transport, clock)
    assert set(await ask(others)) == {"b"}


async def test_no_more_than_so_many_workers_are_asked(
    others: OtherWorkers, group: FakeGroup, transport: FakeTransport
) -> None:
    spares = {f"http://10.1.{i // 250}.{i % 250}:9102/spare-{i}": () for i in range(MAX_WORKERS)}
    group.urls = {**spares, A: [0], B: [1]}
    assert set(await ask(others)) == {"a", "b"}  # those with partitions come first
    assert len(transport.asked) == MAX_WORKERS
    unasked = [one for one in others.shown() if "not asked: only" in one.reason]
    assert len(unasked) == 2


async def test_old_answers_make_room(
    others: OtherWorkers, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_workers, "_MAX_ANSWERS", 4)
    for number in range(5):
        await others.replies(View("models", (("window", str(number)),)), decode)
    assert len(others._known) == 4
    size = others._bytes
    assert size == sum(known.size for known in others._known.values()) > 0
    monkeypatch.setattr(other_workers, "_MAX_BYTES", size // 2)
    clock.now += 2
    await ask(others)
    assert others._bytes <= size // 2


async def test_hints_change_the_question_not_the_view(
    others: OtherWorkers, transport: FakeTransport, clock: FakeClock
) -> None:
    await others.replies(View("history", (), (("until", "1"),)), decode)
    await others.replies(View("history", (), (("until", "2"),)), decode)
    assert [query for worker, _, query in transport.asked if worker == "a"] == [
        {"until": "1"},
        {"until": "2"},
    ]
    transport.answers = {}
    clock.now += 30
    replies = await others.replies(View("history", (), (("until", "3"),)), decode)
    assert [reply.age for reply in replies] == [30, 30]


async def test_closing_ends_what_is_under_way(
    others: OtherWorkers, transport: FakeTransport
) -> None:
    transport.gates["a"] = asyncio.Event()
    reader = asyncio.create_task(ask(others))
    await quiet()
    await others.close()
    assert transport.closed
    await asyncio.wait_for(asyncio.gather(reader, return_exceptions=True), 60)


def test_a_decoder_names_the_wrong_field() -> None:
    from processor.publish.workers.answers import InvalidAnswerError

    decoder: Callable[[bytes], Any] = BodyDecoder(dict[str, int])
    with pytest.raises(InvalidAnswerError, match=r"\$\[\.\.\.\]"):
        decoder(b'{"a": "x"}')
