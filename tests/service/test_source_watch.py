"""The troubles of the source, and for how long it has been silent."""

from typing import Any, cast

from processor.domain.timestamps import SECOND
from processor.errors import BrokerError
from processor.kafka.source_topics import SourceTopics
from processor.service.source_watch import GRACE, SILENT_AFTER, SourceWatch
from processor.telemetry import Telemetry


class _Source:
    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    broker_error: BrokerError | None = None


class _World:
    def __init__(self, optional: bool = False) -> None:
        self.now, self.reading = 1_795_165_440.0, True
        self.newest = 0
        self.source, self.telemetry = _Source(), Telemetry()
        self.watch = SourceWatch(
            cast(SourceTopics, self.source),
            lambda: self.reading,
            lambda: self.newest,
            self.telemetry,
            optional,
            lambda: self.now,
        )

    def troubles(self) -> list[Any]:
        return list(self.watch.troubles())


def test_missing_topics_make_a_worker_unready_unless_they_are_optional() -> None:
    for optional, grace in ((False, GRACE), (True, None)):
        world = _World(optional)
        assert world.troubles() == []
        world.source.missing = ("a", "^b")
        (trouble,) = world.troubles()
        assert (trouble.what, trouble.grace) == ("source topics missing: a, ^b", grace)
        assert "PROCESSOR_TOPICS" in trouble.remedy


def test_topics_without_rights_and_an_absent_broker_have_remedies_of_their_own() -> None:
    world = _World()
    world.source.missing = world.source.forbidden = ("a",)
    world.source.broker_error = BrokerError("Kafka is away", "start it")
    broker, topics = world.troubles()
    assert (broker.what, broker.remedy, broker.grace) == ("Kafka is away", "start it", GRACE)
    assert topics.what == "source topics refused: a"
    assert "rights" in topics.remedy


def test_silence_is_measured_from_the_last_event_and_is_a_notice() -> None:
    world = _World()
    assert world.watch.silent_seconds == 0.0
    world.now += 100
    assert world.watch.silent_seconds == 100.0
    world.telemetry.events["other"] += 1
    assert world.watch.silent_seconds == 0.0
    world.now += SILENT_AFTER - 1
    assert world.troubles() == []
    world.now += 1
    (trouble,) = world.troubles()
    assert (trouble.cause, trouble.grace) == ("source_silent", None)
    assert "2026-11-20T09:05:40Z" in trouble.what
    assert world.troubles() == [trouble]  # one text, so one line in the log
    world.telemetry.events["request"] += 1
    assert world.troubles() == []


def test_a_worker_that_reads_no_partition_is_not_silent() -> None:
    world = _World()
    world.reading = False
    world.now += 2 * SILENT_AFTER
    assert (world.watch.silent_seconds, world.troubles()) == (None, [])
    world.reading = True
    assert world.watch.silent_seconds == 0.0


def test_a_restart_does_not_end_a_silence() -> None:
    world = _World()
    world.newest = round((world.now - 86_400) * SECOND)
    assert world.watch.silent_seconds == 86_400
    (trouble,) = world.troubles()
    assert "no event since 2026-11-19T09:04:00Z" in trouble.what
    # Old records that are read now are still old.
    world.newest += 3600 * SECOND
    world.telemetry.events["request"] += 1
    assert world.watch.silent_seconds == 86_400 - 3600
    # An event over HTTP is of now, whatever the source has; so is a record ahead of this clock.
    world.telemetry.events["feedback"] += 1
    assert world.watch.silent_seconds == 0.0
    world.newest = round((world.now + 50) * SECOND)
    assert world.watch.silent_seconds == 0.0


def test_what_others_read_meanwhile_is_not_held_against_who_takes_over() -> None:
    world = _World()
    world.newest = round(world.now * SECOND)
    assert world.watch.silent_seconds == 0.0
    world.reading = False
    world.now += 86_400
    assert world.watch.silent_seconds is None
    world.reading = True
    assert world.watch.silent_seconds == 0.0
