"""The health of a worker: whether it is alive and ready, and its gauges."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from processor.backfill.bootstrap_progress import BootstrapProgress
from processor.domain.native import native, use_native
from processor.errors import ProcessorError
from processor.publish.interfaces import (
    BootstrapState,
    Gauges,
    OwnedPartitions,
    Problem,
    Readiness,
)
from processor.service.problems import Problems, Source, Trouble
from processor.service.watchdog import Watchdog
from processor.telemetry import Telemetry

#: Seconds between looks for problems.
_LOOK_EVERY = 1.0


class Part(Protocol):
    """A part of the service that goes on after errors and reports them here."""

    @property
    def last_error(self) -> str:
        """The reason why the part cannot do its work at the moment; empty if it can."""
        ...


class WorkerState(Protocol):
    """The state of the worker of a process."""

    @property
    def is_ready(self) -> bool:
        """Whether the worker takes part in the work."""
        ...

    @property
    def owned(self) -> OwnedPartitions:
        """The partitions that the worker owns."""
        ...

    def gauges(self) -> Gauges:
        """The gauges of the worker."""
        ...

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """Whether a prediction for a request is known; None if this worker cannot tell."""
        ...


class ServiceHealth:
    """The `processor.publish.interfaces.Health` of this process.

    It answers from the moment that the metrics port is open, which is before the worker starts. The
    parts of the service add themselves as they start.
    """

    def __init__(self, telemetry: Telemetry, watchdog: Watchdog) -> None:
        self.worker: WorkerState | None = None
        self.start_error: ProcessorError | None = None
        """Why there is no worker yet, if something is wrong."""
        self.failure = ""
        """Why the process is about to end."""
        self.lag: int | None = None
        """Records of the source that are not on the log yet; None while that is unknown."""
        self.bootstrap_complete = asyncio.Event()
        self.bootstrap = BootstrapProgress()
        self.is_complete: Callable[[], bool] = lambda: False
        """Whether all that was stored at the start is counted."""
        self._problems = Problems(self._troubles)
        self._watched: list[Source] = []
        self._telemetry = telemetry
        self._watchdog = watchdog
        self._parts: list[tuple[Part, str, str]] = []
        self._gauges: dict[str, Callable[[], Any]] = {}

    def add(
        self,
        part: Part,
        cause: str = "work",
        remedy: str = "it is tried again until it works; `processor check` tests what it needs",
        **gauges: Callable[[], Any],
    ) -> None:
        """Report the ``last_error`` of a part as a problem of this ``cause``, unless there is one with
        this cause already; and its gauges, by fields of `Gauges`."""
        self._parts.append((part, cause, remedy))
        self.add_gauges(**gauges)

    def watch(self, troubles: Source, **gauges: Callable[[], Any]) -> None:
        """Report the troubles of a part, before those of `add`, and its gauges."""
        self._watched.append(troubles)
        self.add_gauges(**gauges)

    def add_gauges(self, **gauges: Callable[[], Any]) -> None:
        """Add gauges, by fields of `Gauges`."""
        self._gauges |= gauges

    async def run(self) -> None:
        """Look for problems until cancelled, so that the log has them although nobody asks."""
        while True:
            self._problems.refresh()
            await asyncio.sleep(_LOOK_EVERY)

    def alive(self) -> tuple[bool, str]:
        """False once the process has failed or has made no progress for too long, and the reason."""
        error = self.failure or self._watchdog.last_error
        return not error, error or "ok"

    def problems(self) -> tuple[Problem, ...]:
        """Return the open problems, as of now."""
        self._problems.refresh()
        return self._problems.all()

    def ready(self) -> Readiness:
        """Ready once the table was recovered: from then on this worker takes part in its group, with
        however many partitions. Of the problems only some make it unready, after some time."""
        worker, problems = self.worker, self.problems()
        reason = self.failure
        if not reason and worker is None:
            reason = "starting" if self.start_error is None else str(self.start_error)
        elif not reason and worker is not None and not worker.is_ready:
            reason = "joining the group"
        blocking = [] if reason else self._problems.blocking()
        ready = not reason and not blocking
        if not reason:
            reason = "; ".join(blocking or [one.what for one in problems]) or "ok"
        bootstrap, left = self.bootstrap, self.bootstrap.remaining_seconds
        return Readiness(
            ready,
            reason,
            BootstrapState(
                self.bootstrap_complete.is_set(),
                self._telemetry.bootstrap_documents,
                bootstrap.total,
                round(bootstrap.rate, 1),
                None if left is None else round(left, 1),
            ),
            worker.owned if worker else OwnedPartitions((), ()),
            self.lag,
            self.is_complete(),
            problems,
        )

    def _troubles(self) -> Iterable[Trouble]:
        for watched in self._watched:
            yield from watched()
        if self.start_error is not None:
            error = self.start_error
            yield Trouble("broker", error.what, error.remedy, 0.0)
        for part, cause, remedy in self._parts:
            if part.last_error:
                yield Trouble(cause, part.last_error, remedy)

    def gauges(self) -> Gauges:
        """The gauges of all parts; counts are sums over the partitions that are up to date."""
        added: dict[str, Any] = {name: value() for name, value in self._gauges.items()}
        if use_native:
            added["native_templates"], added["native_plans"] = native.kept()
        readiness = self.ready()
        return replace(
            Gauges() if self.worker is None else self.worker.gauges(),
            ready=int(readiness.ready),
            complete=int(readiness.complete),
            bootstrap_complete=int(self.bootstrap_complete.is_set()),
            bootstrap_remaining_documents=self.bootstrap.remaining,
            consumer_lag_records=self.lag,
            stalled_seconds=self._watchdog.stalled,
            **added,
        )
