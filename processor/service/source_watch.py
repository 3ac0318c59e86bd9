"""The problems of the source of a worker on Kafka: the broker, the topics, silence."""

import time
from collections.abc import Callable, Iterable

from processor.domain.timestamps import SECOND, format_time
from processor.kafka.source_topics import SourceTopics
from processor.service.problems import Trouble
from processor.telemetry import Telemetry

#: Seconds that the broker may be away, or topics may be missing, before the worker is not ready: brokers
#: restart, and topics are often created just after the worker.
GRACE = 30.0
#: Seconds without an event after which the silence is a notice.
SILENT_AFTER = 3600.0


class SourceWatch:
    """The troubles of the source, and for how long it has been silent.

    ``is_reading`` returns whether this worker holds partitions of the source, and ``newest`` the time
    (ns) of the newest record of the source that was read, before its start as well; 0 if none is known.
    With ``optional`` topics may be missing.
    """

    def __init__(
        self,
        source: SourceTopics,
        is_reading: Callable[[], bool],
        newest: Callable[[], int],
        telemetry: Telemetry,
        optional: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._is_reading = is_reading
        self._newest = newest
        self._telemetry = telemetry
        self._optional = optional
        self._clock = clock
        self._events = self._last_newest = 0
        self._last_event = 0.0

    @property
    def silent_seconds(self) -> float | None:
        """Seconds since the last event: by the time of its record, so that neither a restart nor the
        reading of old records hides a silence. Where none is known, since reading began. None while
        nothing is read."""
        if not self._is_reading():
            self._last_event = 0.0
            return None
        now, newest = self._clock(), self._newest()
        events = sum(self._telemetry.events.values())
        if newest != self._last_newest:
            self._last_event = min(now, newest / SECOND)
        elif events != self._events or not self._last_event:
            # None of the source, so it came over HTTP.
            self._last_event = now
        self._events, self._last_newest = events, newest
        return now - self._last_event

    def troubles(self) -> Iterable[Trouble]:
        """The troubles, as of now."""
        source, silent = self._source, self.silent_seconds
        if source.broker_error is not None:
            error = source.broker_error
            remedy = error.remedy or "check PROCESSOR_BROKER and the brokers"
            yield Trouble("broker", error.what, remedy, GRACE)
        absent = [one for one in source.missing if one not in source.forbidden]
        grace = None if self._optional else GRACE
        if source.forbidden:
            yield Trouble(
                "source_topics",
                f"source topics refused: {', '.join(source.forbidden)}",
                "give the user of PROCESSOR_KAFKA_SASL_USER the rights to describe and read them",
                grace,
            )
        if absent:
            yield Trouble(
                "source_topics",
                f"source topics missing: {', '.join(absent)}",
                "create them, or correct PROCESSOR_TOPICS",
                grace,
            )
        if silent is not None and silent >= SILENT_AFTER:
            since = format_time(round(self._last_event) * SECOND)
            yield Trouble(
                "source_silent",
                f"no event since {since}",
                "check that models are asked, that their logger is on, and that its events reach the "
                "source topics",
            )
