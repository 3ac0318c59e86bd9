"""The routes that show the whole app: what this worker says to each, what the others are asked, and how
the answers become one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import Events, ModelResult, Replay
from processor.domain.tally.windows import DAYS, Window
from processor.domain.timestamps import SECOND, parse_time
from processor.publish.api import AllWindows, WindowModels, encode_json
from processor.publish.interfaces import WorkerView
from processor.publish.page_data import Page, PageModels, Summary, page_data, summary_of
from processor.publish.time_series import TimeSeries
from processor.publish.workers.answers import BodyDecoder, ShownWorker, ShownWorkers, WorkerAnswer
from processor.publish.workers.merge import Merge, merged_results, merged_series, sum_events
from processor.publish.workers.other_workers import Fallback, OtherWorkers, Reply, View
from processor.telemetry import product_version

B = TypeVar("B")


class AppResults(Replay, frozen=True, kw_only=True):
    """The results of all models of an app with several workers, in one window on one basis."""

    workers: tuple[ShownWorker, ...]
    missing_partitions: tuple[int, ...]


class AppWindows(AllWindows, frozen=True, kw_only=True):
    """The results of all models of an app with several workers, by window and basis."""

    workers: tuple[ShownWorker, ...]
    missing_partitions: tuple[int, ...]


class Route(NamedTuple, Generic[B]):
    """A route of this request: what the others are asked, this worker's body, and the type of both.

    ``fallback`` makes the answer of a worker that does not answer out of its last one to another
    view.
    """

    view: View
    own: Callable[[], Awaitable[B]]
    decode: BodyDecoder[B]
    fallback: Fallback[B] | None = None


results_decoder = BodyDecoder(Replay)
windows_decoder = BodyDecoder(AllWindows)
series_decoder = BodyDecoder(TimeSeries)
page_decoder = BodyDecoder(PageModels, lambda body: _check_detail(body))
nothing_decoder: BodyDecoder[None] = BodyDecoder(type(None))


#: About the bytes of a model in an answer.
_MODEL_BYTES = 1000


class AppView:
    """Answers for the whole app of ``worker``, with the help of the other workers."""

    def __init__(self, worker: WorkerView, others: OtherWorkers) -> None:
        self._worker = worker
        self._others = others

    async def results(self, route: Route[Replay]) -> Replay:
        """The results of one window on one basis."""
        merge = await self._merge(route)
        own = next(merge.bodies)
        if not self._others.are_there:
            return own
        return AppResults(
            own.from_,
            own.to,
            own.by,
            merged_results(merge, lambda body: body.models),
            sum_events(body.events for body in merge.bodies),
            workers=self._shown(),
            missing_partitions=merge.missing,
        )

    async def windows(self, route: Route[AllWindows]) -> AllWindows:
        """The results of several windows or bases."""
        merge = await self._merge(route)
        own = next(merge.bodies)
        if not self._others.are_there:
            return own
        nothing: dict[str, WindowModels] = {}
        none = WindowModels(())
        windows = {
            window: {
                by: WindowModels(
                    merged_results(
                        merge,
                        lambda body, window=window, by=by: (  # type: ignore[misc]
                            body.windows.get(window, nothing).get(by, none).models
                        ),
                    )
                )
                for by in bases
            }
            for window, bases in own.windows.items()
        }
        return AppWindows(own.at, windows, workers=self._shown(), missing_partitions=merge.missing)

    async def series(self, make: Callable[[float | None], Route[TimeSeries]]) -> TimeSeries:
        """All models over time. ``make`` gives the route for an axis that begins at a time (seconds
        since 1970) at the latest: that of all time begins with the oldest model of any worker."""
        merge = await self._merge(make(None))
        if not self._others.are_there:
            return next(merge.bodies)
        starts = [parse_time(body.from_) for body in merge.bodies]
        if len(set(starts)) > 1:
            since = min(start for start in starts if start is not None) / SECOND
            merge = await self._merge(make(since))
        return merged_series(merge)

    async def page(
        self, route: Route[PageModels], window: Window, by: str, key: ModelKey | None
    ) -> Page:
        """The data of the page, with the details of the model ``key``."""
        merge = await self._merge(route)
        if not self._others.are_there:
            return page_data(self._worker, window, by, next(merge.bodies))
        models = tuple(
            msgspec.structs.replace(one.item, age_seconds=one.age) if one.age else one.item
            for one in merge.models(lambda body: body.models, _names)
        )
        owner = None if key is None else merge.owner(key)
        shown = PageModels(models, None if owner is None else owner.item.detail)
        return page_data(self._worker, window, by, shown, self._shown(), merge.missing)

    async def workers(self, route: Route[None]) -> ShownWorkers:
        """All workers, and the partitions of which none has counts."""
        merge = await self._merge(route)
        return ShownWorkers(self._shown(), merge.missing if self._others.are_there else ())

    async def own_answer(self, route: Route[Any]) -> WorkerAnswer:
        """The answer of this worker alone, for another one."""
        worker = self._worker
        positions = dict(worker.group.counted_offsets())
        body = await route.own()
        return WorkerAnswer(
            worker.address.id if worker.address else "",
            product_version(),
            positions,
            _count_models(worker),
            msgspec.Raw(encode_json(body)),
        )

    async def _merge(self, route: Route[B]) -> Merge[B]:
        worker = self._worker
        name = worker.address.id if worker.address else ""
        # Taken before the counts, so that these include at least so much of the log.
        positions = dict(worker.group.counted_offsets())
        if self._others.are_there:
            own, others = await asyncio.gather(
                route.own(), self._others.replies(route.view, route.decode, route.fallback)
            )
            size = _MODEL_BYTES * _count_models(worker)
            reply = Reply(name, positions, own)
            replies = [*self._others.own_replies(name, route.view, reply, size), *others]
        else:
            replies = [Reply(name, positions, await route.own())]
        merge = Merge(replies, worker.settings.partitions)
        self._others.forget_unneeded(merge.needed)
        return merge

    def _shown(self) -> tuple[ShownWorker, ...]:
        worker, address = self._worker, self._worker.address
        own = ShownWorker(
            id=address.id if address else "",
            address=address.location if address else "",
            scheme=address.scheme if address else "",
            partitions=worker.health.ready().partitions.deltas,
            models=_count_models(worker),
            age_seconds=0.0,
            ok=True,
            answering=True,
        )
        return tuple(sorted([own, *self._others.shown()], key=lambda one: one.id))


def results_of(window: str, by: str) -> Fallback[Replay]:
    """Make the results of one window on one basis out of those of several."""

    def make(view: View, body: Any) -> Replay | None:
        models = _models_of(view, body, window, by)
        return None if models is None else Replay(None, None, by, tuple(models), Events())

    return make


def page_of(window: str, by: str) -> Fallback[PageModels]:
    """Make the models of the page out of those of the page of another model, without its details, or out
    of results."""

    def make(view: View, body: Any) -> PageModels | None:
        if view.name == "page" and {("window", window), ("by", by)} <= set(view.query):
            return PageModels(body.models, None)
        models = _models_of(view, body, window, by)
        return None if models is None else PageModels(tuple(map(summary_of, models)), None)

    return make


def _models_of(view: View, body: Any, window: str, by: str) -> Sequence[ModelResult] | None:
    """The results in a body of ``/api/models``; None if this window and basis are not in it."""
    if view.name != "models":
        return None
    if isinstance(body, AllWindows):
        found = body.windows.get(window, {}).get(by)
        return None if found is None else found.models
    return body.models if dict(view.query) == {"window": window, "by": by} else None


def _check_detail(body: PageModels) -> None:
    if body.detail is not None:
        # Those fields of a result that have values.
        msgspec.convert(body.detail.result, ModelResult)


def _count_models(worker: WorkerView) -> int:
    return len(worker.counts_source.buckets(DAYS, "request"))


def _names(summary: Summary) -> ModelKey:
    return ModelKey(summary.namespace, summary.deployment, summary.predictor, summary.model)
