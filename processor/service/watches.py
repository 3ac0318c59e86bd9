"""The watches of a worker: what each of them looks at, and what it reports to the health."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from processor.domain.model_rules import ModelRules
from processor.kafka.clients import Kafka
from processor.kafka.source_topics import SourceTopics
from processor.models_file import FollowedModelsFile
from processor.service.disk import DiskWatch
from processor.service.health import ServiceHealth
from processor.service.lifecycle import background
from processor.service.problems import Trouble
from processor.service.source_watch import SourceWatch
from processor.settings import Settings
from processor.stream.shared.snapshots import SharedSnapshots
from processor.telemetry import Telemetry


class Watches:
    """Starts watches, which end when the stack unwinds; ``guard`` makes an error of theirs end the
    process."""

    def __init__(
        self,
        settings: Settings,
        health: ServiceHealth,
        telemetry: Telemetry,
        stack: AsyncExitStack,
        guard: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]],
    ) -> None:
        self._settings = settings
        self._health = health
        self._telemetry = telemetry
        self._stack = stack
        self._guard = guard

    def disks(self, folders: Sequence[Path]) -> None:
        """Watch the disks of the folders; on a Kafka of the first one alone: only snapshots need it,
        and the counts stay right without them."""
        if self._settings.embedded:
            disks = DiskWatch(folders, 0.0, "no event can be accepted")
        else:
            disks = DiskWatch(folders[:1], None, "without snapshots the next start takes longer")
        self._health.watch(
            disks.troubles,
            disk_free_bytes=lambda: disks.free_bytes,
            disk_full=lambda: disks.full,
        )
        self._start(disks.run())

    def models_file(self, rules: ModelRules) -> None:
        """Follow the models file, if there is one."""
        settings = self._settings
        if settings.models is not None:
            file = FollowedModelsFile(settings.models, rules, settings.custom_statistics)
            self._health.add(
                file,
                "models_file",
                "correct the file; it is read again when it changes",
                models_file_refused=lambda: int(bool(file.last_error)),
            )
            self._start(file.run())

    def source(
        self, kafka: Kafka, is_reading: Callable[[], bool], newest: Callable[[], int]
    ) -> SourceTopics:
        """Watch the broker and the source topics; see `SourceWatch`."""
        settings = self._settings
        source = SourceTopics(kafka, settings.topics)
        watch = SourceWatch(source, is_reading, newest, self._telemetry, settings.topics_optional)
        self._health.watch(
            watch.troubles,
            broker_up=lambda: int(source.broker_error is None) if source.was_asked else None,
            source_topics_missing=lambda: len(source.missing) if source.checked else None,
            source_silent_seconds=lambda: watch.silent_seconds,
        )
        self._start(source.run())
        return source

    def archive(self) -> None:
        """Watch Elasticsearch, if it is the archive."""
        if not self._settings.elasticsearch:
            return
        # Imported when it is used: the client takes as much time and memory as all the rest.
        from processor.archive.elasticsearch.watch import ArchiveWatch

        watch = ArchiveWatch(self._settings)

        def troubles() -> Iterable[Trouble]:
            if watch.error is not None:
                remedy = watch.error.remedy or "see the log of Elasticsearch; it is tried again"
                yield Trouble("archive", watch.error.what, remedy)

        self._health.watch(
            troubles, archive_up=lambda: watch.up, archive_refused=lambda: watch.refused
        )
        self._start(watch.run())

    def snapshots(self, shared: SharedSnapshots) -> None:
        """Tell whether the store of the shared snapshots answers; using it shows that."""

        def troubles() -> Iterable[Trouble]:
            if shared.error:
                yield Trouble(
                    "snapshots",
                    f"shared snapshots in {shared.place}: {shared.error}",
                    "check PROCESSOR_SNAPSHOTS, its rights and credentials; it is tried again, and "
                    "openings take longer meanwhile",
                )

        self._health.watch(troubles, snapshot_store_up=lambda: int(not shared.error))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        background(self._stack, self._guard(work))
