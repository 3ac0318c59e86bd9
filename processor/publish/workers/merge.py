"""One answer for the whole app out of the answers of its workers.

A model's counts are in one partition of the deltas, and so in one worker: nothing is added up, but it
is decided whose counts of a partition are the newest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from processor.domain.log.deltas import partition_of
from processor.domain.model_key import ModelKey
from processor.domain.results import Events, ModelResult
from processor.domain.timestamps import SECOND, parse_time
from processor.publish.time_series import ModelTimeSeries, Points, TimeSeries
from processor.publish.workers.other_workers import Reply

B = TypeVar("B")
T = TypeVar("T")


class Found(NamedTuple, Generic[T]):
    """An item of an answer, and the answer's age in seconds; None if it is of now."""

    item: T
    age: float | None


class Merge(Generic[B]):
    """The ``replies`` of the workers of an app with so many ``partitions`` of the deltas.

    A partition belongs to the reply that includes the most of its log: of two workers that both take
    themselves for its owner, as after a rebalance that one of them has slept through, it is the new one.
    """

    def __init__(self, replies: Sequence[Reply[B]], partitions: int) -> None:
        self._replies = replies
        self._partitions = partitions
        self._owners: dict[int, Reply[B]] = {}
        for number in range(partitions):
            claims = [reply for reply in replies if number in reply.positions]
            if claims:
                self._owners[number] = max(claims, key=lambda reply: _rank(reply, number))

    @property
    def missing(self) -> tuple[int, ...]:
        """The partitions of which no worker has given counts."""
        return tuple(n for n in range(self._partitions) if n not in self._owners)

    @property
    def needed(self) -> frozenset[str]:
        """The ids of the workers whose counts are in the answer."""
        return frozenset(reply.worker for reply in self._owners.values())

    @property
    def bodies(self) -> Iterator[B]:
        """The newest body of each worker, this worker's first."""
        newest: dict[str, B] = {}
        for reply in self._replies:
            newest.setdefault(reply.worker, reply.body)
        return iter(newest.values())

    def owner(self, key: ModelKey) -> Found[B] | None:
        """The body that has the newest counts of a model; None if no worker has its partition."""
        reply = self._owners.get(self._partition(key))
        return None if reply is None else Found(reply.body, _age(reply))

    def models(
        self, items: Callable[[B], Iterable[T]], names: Callable[[T], ModelKey]
    ) -> list[Found[T]]:
        """The items of all bodies, one for each model, sorted by the models' names."""
        found: dict[ModelKey, Found[T]] = {}
        for reply in self._replies:
            for item in items(reply.body):
                key = names(item)
                if self._owners.get(self._partition(key)) is reply:
                    found.setdefault(key, Found(item, _age(reply)))
        return [found[key] for key in sorted(found)]

    def _partition(self, key: ModelKey) -> int:
        return partition_of("\0".join(key), self._partitions)


def _rank(reply: Reply[B], number: int) -> tuple[int, bool]:
    return reply.positions[number], reply.is_fresh


def _age(reply: Reply[B]) -> float | None:
    return None if reply.is_fresh else max(0.1, round(reply.age, 1))


class AgedModelResult(ModelResult, frozen=True, kw_only=True):
    """The last known result of a model whose worker does not answer, and how many seconds old it is."""

    age_seconds: float


def merged_results(
    merge: Merge[B], models: Callable[[B], Iterable[ModelResult]]
) -> tuple[ModelResult, ...]:
    """The results of all models of the app; those that are not of now have an age."""
    return tuple(
        one.item if one.age is None else _with_age(one.item, one.age)
        for one in merge.models(models, _names)
    )


def _with_age(result: ModelResult, age: float) -> AgedModelResult:
    values = {field: getattr(result, field) for field in result.__struct_fields__}
    return AgedModelResult(**values, age_seconds=age)


def _names(model: ModelResult | ModelTimeSeries) -> ModelKey:
    return ModelKey(model.namespace, model.deployment, model.predictor, model.model)


def sum_events(events: Iterable[Events]) -> Events:
    """The counters of all workers: an event is read by one of them."""
    total: dict[str, int | dict[str, int]] = {}
    for each in events:
        for name in each.__struct_fields__:
            value = getattr(each, name)
            before = total.get(name)
            if isinstance(value, dict):
                reasons = dict(before) if isinstance(before, dict) else {}
                for reason, count in value.items():
                    reasons[reason] = reasons.get(reason, 0) + count
                total[name] = dict(sorted(reasons.items()))
            else:
                total[name] = value + (before if isinstance(before, int) else 0)
    return msgspec.convert(total, Events)


def merged_series(merge: Merge[TimeSeries]) -> TimeSeries:
    """The time series of all models, on the axis of this worker's. A series on another axis, as of a
    worker that does not answer any more, is moved to it, and has no points where that is impossible."""
    own = next(merge.bodies)

    def items(body: TimeSeries) -> Iterable[tuple[ModelTimeSeries, int | None]]:
        offset = _offset(body, own)
        return ((series, offset) for series in body.models)

    found = merge.models(items, lambda item: _names(item[0]))
    series = [_moved(each, offset, own.steps) for (each, offset), _ in found]
    return msgspec.structs.replace(own, models=tuple(series))


def _offset(series: TimeSeries, axis: TimeSeries) -> int | None:
    """The number of steps by which a series begins after the axis; None if it does not fit on it."""
    start, begin = parse_time(series.from_), parse_time(axis.from_)
    if start is None or begin is None or series.step != axis.step:
        return None
    steps, rest = divmod((start - begin) // SECOND, axis.step)
    return None if rest else steps


def _moved(series: ModelTimeSeries, offset: int | None, steps: int) -> ModelTimeSeries:
    columns = msgspec.structs.asdict(series.points)
    lengths = {len(column) for column in columns.values()}
    if offset is None or len(lengths | {0}) > 2:
        # Not to be moved, or columns that do not belong together.
        return msgspec.structs.replace(series, points=Points())
    if offset == 0:
        return series
    index = series.points.index
    kept = [i for i, number in enumerate(index) if 0 <= number + offset < steps]
    points = Points(
        **{name: [column[i] for i in kept] if column else [] for name, column in columns.items()}
    )
    points.index = [index[i] + offset for i in kept]
    return msgspec.structs.replace(series, points=points)
