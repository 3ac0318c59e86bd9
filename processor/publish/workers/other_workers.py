"""The other workers of the app: who they are, whether they answer, and their last answers."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from processor.publish.interfaces import WorkerView
from processor.publish.workers.address import WorkerAddress, parse_worker_url
from processor.publish.workers.answers import (
    BodyDecoder,
    InvalidAnswerError,
    ShownWorker,
    decode_answer,
)
from processor.publish.workers.client import SilentWorkerError, Transport

B = TypeVar("B")

#: Seconds for which an answer is not asked for again, so that ten readers cost as much as one.
_FRESH = 1.0
#: Seconds after a failure in which readers do not wait for the worker: it is asked beside them.
_PATIENCE = 5.0
#: Seconds for which a worker that has left its group is still listed, and for which its last answers
#: stand for partitions that no other worker has.
_LISTED, _KEPT = 300.0, 3600.0
#: Seconds for which a failure shows in the metrics.
_NOTED = 60.0
#: The most workers that are asked, and the most answers (count, and bytes of JSON) that are kept.
MAX_WORKERS, _MAX_ANSWERS, _MAX_BYTES = 200, 2000, 64 << 20
#: Bytes from which an answer is decoded in a thread.
_LARGE = 100_000


#: The path of the routes on which workers answer one another.
WORKER = "/api/worker"


class View(NamedTuple):
    """A question to a worker: the name of a route below ``/api/worker``, and its query.

    ``hints`` are parameters that change how the answer is cut, not what it is about: an answer to other
    hints will do where there is no better one.
    """

    name: str
    query: tuple[tuple[str, str], ...] = ()
    hints: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The path of the route."""
        return f"{WORKER}/{self.name}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Reply(Generic[B]):
    """The answer of a worker to a view.

    ``positions`` are the offsets up to which its counts include each partition. ``age`` is in seconds, 0
    for an answer of now.
    """

    worker: str
    positions: Mapping[int, int]
    body: B
    age: float = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether the worker gave this answer now."""
        return self.age == 0


#: Makes the body of one view out of that of another; None where this can't be.
Fallback = Callable[[View, Any], B | None]


class _Known(NamedTuple):
    """An answer. ``before`` is an earlier one that has partitions which this one lacks: a worker leaves
    a partition out for as long as it reads its log again after a rebalance."""

    positions: Mapping[int, int]
    body: Any
    hints: tuple[tuple[str, str], ...]
    at: float
    size: int
    before: "_Known | None" = None

    @property
    def total_size(self) -> int:
        return self.size + (self.before.size if self.before else 0)


@dataclass(slots=True)
class _Other:
    """Another worker, and how the last requests to it ended. Times are those of the clock."""

    id: str
    address: WorkerAddress | None
    partitions: tuple[int, ...] = ()
    left_at: float | None = None
    heard_at: float | None = None
    failed_at: float | None = None
    reason: str = "not asked yet"
    models: int | None = None
    asking: "dict[View, asyncio.Task[None]]" = field(default_factory=dict)

    def note_failure(self, now: float, reason: str) -> None:
        self.failed_at, self.reason = now, reason

    @property
    def is_ok(self) -> bool:
        return self.heard_at is not None and self.failed_at is None and self.left_at is None


class OtherWorkers:
    """Asks the other workers of the app of ``worker``, all at once, and keeps their last answers.

    Nothing is asked unless a reader asks. ``clock`` gives seconds that never go back.
    """

    def __init__(
        self,
        worker: WorkerView,
        transport: Transport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._transport = transport
        self._clock = clock
        self._others: dict[str, _Other] = {}
        self._known: OrderedDict[tuple[str, View], _Known] = OrderedDict()
        self._bytes = 0

    @property
    def are_there(self) -> bool:
        """Whether the app has, or had a short while ago, another worker."""
        self._update_members()
        return bool(self._others)

    def count_all(self) -> int:
        """The number of workers of the app, this one included."""
        self._update_members()
        return 1 + sum(one.left_at is None for one in self._others.values())

    def count_silent(self) -> int:
        """The number of workers that did not answer when they were last asked, in the last minute."""
        since = self._clock() - _NOTED
        return sum(
            one.left_at is None and one.failed_at is not None and one.failed_at > since
            for one in self._others.values()
        )

    async def replies(
        self, view: View, decode: BodyDecoder[B], fallback: Fallback[B] | None = None
    ) -> list[Reply[B]]:
        """The answers of all other workers that ever gave one; those that fail now give their last, or
        one that ``fallback`` makes of their last answer to another view."""
        self._update_members()
        began = self._clock()
        key = view._replace(hints=())
        await asyncio.gather(*(self._ask(one, view, decode) for one in self._asked()))
        found = []
        for one in self._others.values():
            known = self._known.get((one.id, key))
            if known is None and fallback is not None:
                known = self._known_otherwise(one.id, fallback)
            if known is not None:
                fresh = one.is_ok and known.at >= began - _FRESH
                found += self._replies_of(one.id, known, fresh)
        return found

    def own_replies(self, worker: str, view: View, own: Reply[B], size: int) -> list[Reply[B]]:
        """This worker's answer, and its last one with partitions that are not up to date now; ``size``
        is about its bytes."""
        self._keep(worker, view, _Known(own.positions, own.body, view.hints, self._clock(), size))
        return self._replies_of(worker, self._known[worker, view._replace(hints=())], True)

    def _replies_of(self, worker: str, known: _Known, fresh: bool) -> list[Reply[Any]]:
        now = self._clock()
        age = 0.0 if fresh else max(now - known.at, 1e-3)
        found: list[Reply[Any]] = [Reply(worker, known.positions, known.body, age)]
        if (before := known.before) is not None and now - before.at < _LISTED:
            found.append(Reply(worker, before.positions, before.body, max(now - before.at, 1e-3)))
        return found

    def forget_unneeded(self, needed: Set[str]) -> None:
        """Forget the workers that left some time ago, but for those whose answers are ``needed``."""
        now = self._clock()
        for one in list(self._others.values()):
            if one.left_at is not None and now - one.left_at >= _LISTED and one.id not in needed:
                self._forget(one.id)

    def shown(self) -> list[ShownWorker]:
        """All other workers, as readers see them."""
        now = self._clock()
        return [
            ShownWorker(
                id=one.id,
                address=one.address.location if one.address else "",
                scheme=one.address.scheme if one.address else "",
                partitions=one.partitions,
                models=one.models,
                age_seconds=_age(one, now),
                ok=one.is_ok,
                reason="" if one.is_ok else one.reason,
                member=one.left_at is None,
            )
            for one in self._others.values()
        ]

    def _known_otherwise(self, worker: str, fallback: Fallback[Any]) -> _Known | None:
        newest: _Known | None = None
        for (name, view), known in self._known.items():
            if name == worker and (newest is None or known.at > newest.at):
                body = fallback(view, known.body)
                newest = newest if body is None else known._replace(body=body)
        return newest

    async def close(self) -> None:
        """End all requests, and close the connections."""
        tasks = [task for one in self._others.values() for task in one.asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.close()

    def _update_members(self) -> None:
        now, own = self._clock(), self._worker.address
        members: dict[str, tuple[WorkerAddress | None, tuple[int, ...]]] = {}
        for url, partitions in self._worker.group.members().items():
            address = parse_worker_url(url)
            if own is None or url != own.url:
                name = address.id if address else url[:120]
                members[name] = address, tuple(sorted(partitions))
        for name, (address, partitions) in members.items():
            other = self._others.setdefault(name, _Other(name, address))
            other.address, other.partitions, other.left_at = address, partitions, None
            if address is None:
                other.reason = "it does not announce its address: its release is an older one"
        for name in self._others.keys() - members.keys():
            other = self._others[name]
            if other.left_at is None:
                other.left_at, other.partitions = now, ()
                other.reason = "it has left the group"
            if now - other.left_at >= _KEPT:
                self._forget(name)

    def _forget(self, name: str) -> None:
        del self._others[name]
        for key in [key for key in self._known if key[0] == name]:
            self._bytes -= self._known.pop(key).total_size

    def _asked(self) -> Iterable[_Other]:
        """The workers to ask; those with partitions first, since others have no models."""
        members = [one for one in self._others.values() if one.left_at is None and one.address]
        members.sort(key=lambda one: not one.partitions)
        for one in members[MAX_WORKERS:]:
            one.note_failure(self._clock(), f"not asked: only {MAX_WORKERS} workers are")
        return members[:MAX_WORKERS]

    async def _ask(self, other: _Other, view: View, decode: BodyDecoder[Any]) -> None:
        now = self._clock()
        known = self._known.get((other.id, view._replace(hints=())))
        if other.is_ok and known and now - known.at < _FRESH and known.hints == view.hints:
            return
        task = other.asking.get(view)
        if task is None:
            task = asyncio.create_task(self._fetch(other, view, decode))
            other.asking[view] = task
            task.add_done_callback(lambda _: other.asking.pop(view, None))
        if other.failed_at is None or now - other.failed_at >= _PATIENCE:
            # The task goes on if this reader goes away: others may wait for it too.
            await asyncio.wait([task])

    async def _fetch(self, other: _Other, view: View, decode: BodyDecoder[Any]) -> None:
        assert other.address is not None
        partitions = self._worker.settings.partitions
        try:
            query = dict(view.query + view.hints)
            data = await self._transport.get(other.address, view.path, query)

            def work() -> tuple[Any, Any]:
                answer = decode_answer(data, other.id, partitions)
                return answer, decode(bytes(answer.body))

            answer, body = await asyncio.to_thread(work) if len(data) > _LARGE else work()
        except SilentWorkerError as error:
            other.note_failure(self._clock(), str(error))
        except InvalidAnswerError as error:
            other.note_failure(self._clock(), f"its answer has another form: {error}"[:300])
        else:
            now = self._clock()
            other.heard_at, other.failed_at, other.reason = now, None, ""
            other.models = answer.models
            self._keep(other.id, view, _Known(answer.positions, body, view.hints, now, len(data)))

    def _keep(self, worker: str, view: View, known: _Known) -> None:
        key = worker, view._replace(hints=())
        if (last := self._known.pop(key, None)) is not None:
            self._bytes -= last.total_size
            earlier = [one for one in (last, last.before) if one is not None]
            most = max(earlier, key=lambda one: len(one.positions.keys() - known.positions.keys()))
            if most.positions.keys() - known.positions.keys() and known.at - most.at < _LISTED:
                known = known._replace(before=most._replace(before=None))
        self._known[key] = known
        self._bytes += known.total_size
        while len(self._known) > _MAX_ANSWERS or self._bytes > _MAX_BYTES:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.total_size


def _age(one: _Other, now: float) -> float | None:
    if one.heard_at is None:
        return None
    return 0.0 if one.is_ok else round(now - one.heard_at, 1)
