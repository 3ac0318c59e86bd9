"""The internal topics: they are created and checked before anything uses them; and the log's id.

Two workers of a new app that start at the same moment create the same topics (one of them finds them
created), and both use the log id of the first ``epoch`` record on the control topic.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from processor.domain.log.observations import SCHEMA_VERSION
from processor.errors import BrokerError, LogMismatchError, SavepointError
from processor.kafka.clients import MAX_RECORD, Kafka, running
from processor.kafka.control_log import ControlRecord, decode_control, encode_control
from processor.kafka.log_schema import check_schema, log_schema
from processor.settings import Settings

_DAY_MS = 86_400_000
#: Seconds within which every broker lists a topic that was created.
_LISTED_WITHIN = 3.0


class Topics(NamedTuple):
    """The names of an app's internal topics."""

    observations: str
    deltas: str
    control: str
    dead_letters: str
    changelog: str

    @classmethod
    def of(cls, app_id: str) -> "Topics":
        """Derive the names from the app's id; Faust derives the changelog's in the same way."""
        return cls(
            f"{app_id}-observations",
            f"{app_id}-deltas",
            f"{app_id}-control",
            f"{app_id}-dead-letters",
            f"{app_id}-confusion-changelog",
        )


class TopicSpec(NamedTuple):
    """The partitions and settings that a topic must have."""

    name: str
    partitions: int
    config: dict[str, str]


def specs(settings: Settings, topics: Topics) -> list[TopicSpec]:
    """Return the partitions and settings that each internal topic must have."""
    kept = {"cleanup.policy": "delete", "max.message.bytes": str(MAX_RECORD)}
    # Append time is the only clock of the folds: a producer's clock must not replace it.
    appended = {"message.timestamp.type": "LogAppendTime"}
    partitions = settings.partitions
    horizon_ms = settings.horizon * 1000
    two_weeks = {"retention.ms": str(14 * _DAY_MS)}
    return [
        TopicSpec(
            topics.observations,
            partitions,
            {**kept, **appended, "retention.ms": str(2 * horizon_ms + _DAY_MS)},
        ),
        TopicSpec(topics.deltas, partitions, {**kept, **appended, **two_weeks}),
        TopicSpec(topics.control, 1, {**kept, **appended, "retention.ms": "-1"}),
        TopicSpec(topics.dead_letters, partitions, {**kept, **appended, **two_weeks}),
        TopicSpec(
            topics.changelog,
            partitions,
            {
                **appended,
                "cleanup.policy": "compact",
                "max.message.bytes": str(MAX_RECORD),
                "retention.ms": "-1",
            },
        ),
    ]


async def prepare(
    kafka: Kafka, settings: Settings, deadline: float = 60.0, load: ControlRecord | None = None
) -> str:
    """Create the missing topics, wait until all brokers list them, and check them.

    Returns the log's id. ``deadline``: seconds for each of the waits. ``load`` is the ``epoch`` record
    with which a load of a savepoint begins, without a log id. `LogMismatchError` if the topics differ
    from the settings in a way that would miscount; `BrokerError` if they cannot be created;
    `SavepointError` if the app has a state already, so that no savepoint can be loaded.
    """
    topics = Topics.of(settings.app_id)
    wanted = specs(settings, topics)
    async with running(kafka.admin()) as admin:
        brokers = len((await admin.describe_cluster())["brokers"])
        replication = settings.replication or min(3, brokers)
        in_sync = settings.min_insync_replicas or (2 if replication >= 3 else 1)
        if replication > brokers:
            raise BrokerError(
                f"PROCESSOR_REPLICATION={replication} needs as many brokers, there are {brokers}"
            )
        known = set(await admin.list_topics())
        missing = [spec.name for spec in wanted if spec.name not in known]
        # The log's id is written after all topics exist: a topic missing then was deleted.
        if (
            missing
            and topics.control in known
            and (await _epoch(kafka, topics.control, deadline))[0] is not None
        ):
            # Unless another worker created them a moment ago, before it wrote the log's id.
            missing = await _still_missing(admin, missing)
            if missing:
                raise _deleted(missing)
        if missing and not (settings.create_topics or settings.embedded):
            raise BrokerError(
                f"topics {', '.join(missing)} do not exist, and PROCESSOR_CREATE_TOPICS is off: create "
                "them, 'processor topics' prints how, or switch it on"
            )
        for spec in wanted:
            if spec.name not in missing:
                continue
            config = {**spec.config, "min.insync.replicas": str(in_sync)}
            await _create(
                admin, NewTopic(spec.name, spec.partitions, replication, topic_configs=config)
            )
        await _wait_visible(admin, wanted, deadline)
        await _check_configs(admin, wanted)
    return await _log_id(kafka, topics.control, settings, deadline, load)


class ExistingLog(NamedTuple):
    """The log that was found: its id and its schema."""

    log_id: str
    schema: int


async def existing(kafka: Kafka, settings: Settings, deadline: float = 60.0) -> str:
    """Return the id of a log of this release's schema that must exist already; creates nothing.

    `LogMismatchError` if the log differs from the settings, `BrokerError` if there is no log.
    """
    found = await find_log(kafka, settings, deadline)
    check_schema(found.schema, settings)
    return found.log_id


async def find_log(kafka: Kafka, settings: Settings, deadline: float = 60.0) -> ExistingLog:
    """Find a log as `existing` does, whatever its schema."""
    topics = Topics.of(settings.app_id)
    wanted = specs(settings, topics)
    async with running(kafka.admin()) as admin:
        known = set(await admin.list_topics())
        missing = [spec.name for spec in wanted if spec.name not in known]
        if missing:
            raise BrokerError(
                f"there is no log of the app {settings.app_id} on this broker (no topic "
                f"{missing[0]}): set PROCESSOR_APP_ID to that of an app that has run"
            )
        await _wait_visible(admin, wanted, deadline)
    epoch, loaded = await _epoch(kafka, topics.control, deadline)
    if epoch is None:
        raise BrokerError(f"the log of the app {settings.app_id} is not in use yet: run it first")
    _check_horizon(epoch, settings)
    _check_load(epoch, loaded, settings, None)
    schema = await log_schema(kafka, settings, epoch, topics.observations)
    return ExistingLog(epoch.log_id, schema)


async def check_topic(admin: Any, spec: TopicSpec, partitions: int) -> None:
    """Compare a topic that exists with its specification. `LogMismatchError` as of `prepare`."""
    _check_partitions(spec, partitions)
    await _check_configs(admin, [spec])


async def check_log(
    kafka: Kafka, settings: Settings, missing: Sequence[str], deadline: float = 15.0
) -> str | None:
    """Compare the settings with what the control topic, which must exist, says of the log.

    Returns the log's id, None if no worker has used it yet. ``missing`` names the internal topics that
    do not exist. `LogMismatchError` as of `prepare`.
    """
    epoch, loaded = await _epoch(kafka, Topics.of(settings.app_id).control, deadline)
    if epoch is None:
        return None
    if missing:
        raise _deleted(missing)
    _check_load(epoch, loaded, settings, None)
    _check_horizon(epoch, settings)
    return epoch.log_id


def _deleted(missing: Sequence[str]) -> LogMismatchError:
    return LogMismatchError(
        f"topics {', '.join(missing)} were deleted, and the other topics refer to their "
        "records: use a new PROCESSOR_APP_ID"
    )


async def loaded_savepoint(kafka: Kafka, settings: Settings) -> ControlRecord | None:
    """Return the record of the load with which the app's log began; None if there was no load."""
    _, loaded = await _epoch(kafka, Topics.of(settings.app_id).control, 60.0)
    return loaded


async def _create(admin: Any, topic: NewTopic) -> None:
    try:
        response = await admin.create_topics([topic])
    except TopicAlreadyExistsError:
        return
    for _, code, *message in getattr(response, "topic_errors", ()):
        if code and code != TopicAlreadyExistsError.errno:
            detail = message[0] if message else ""
            raise BrokerError(
                f"topic {topic.name} cannot be created: {for_code(code).__name__} "
                f"{detail}: check the rights, or create it yourself"
            )


async def _wait_visible(admin: Any, wanted: list[TopicSpec], deadline: float) -> None:
    """Wait until each partition has a leader, and compare the numbers of partitions."""
    end = time.monotonic() + deadline
    while True:
        found = {
            topic["topic"]: topic
            for topic in await admin.describe_topics([spec.name for spec in wanted])
            if not topic["error_code"] and all(p["leader"] >= 0 for p in topic["partitions"])
        }
        if len(found) == len(wanted):
            break
        if time.monotonic() > end:
            missing = [spec.name for spec in wanted if spec.name not in found]
            raise BrokerError(f"topics {', '.join(missing)} have no leader after {deadline:.0f} s")
        await asyncio.sleep(0.1)
    for spec in wanted:
        _check_partitions(spec, len(found[spec.name]["partitions"]))


def _check_partitions(spec: TopicSpec, partitions: int) -> None:
    if partitions != spec.partitions:
        raise LogMismatchError(
            f"topic {spec.name} has {partitions} partitions, PROCESSOR_PARTITIONS asks for "
            f"{spec.partitions}: set it to {partitions}, or use a new PROCESSOR_APP_ID"
        )


async def _check_configs(admin: Any, wanted: list[TopicSpec]) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in wanted]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for _, _, _, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    for spec in wanted:
        _check_config(spec, found.get(spec.name, {}))


def _check_config(spec: TopicSpec, found: Mapping[str, str]) -> None:
    for name in ("cleanup.policy", "message.timestamp.type"):
        expected, actual = spec.config.get(name), found.get(name)
        if expected is not None and actual is not None and actual != expected:
            raise LogMismatchError(
                f"topic {spec.name} has {name}={actual}, it must be {expected}: change it, "
                "or use a new PROCESSOR_APP_ID"
            )
    for name in ("retention.ms", "max.message.bytes"):
        expected, actual = spec.config.get(name), found.get(name)
        if expected is not None and actual is not None and _less(int(actual), int(expected)):
            raise LogMismatchError(
                f"topic {spec.name} has {name}={actual}, but {expected} is needed, or else records "
                "would be lost: change it"
            )


def _less(actual: int, expected: int) -> bool:
    """Whether a limit is lower than expected; -1 means no limit."""
    return actual != -1 and (expected == -1 or actual < expected)


async def _still_missing(admin: Any, missing: list[str]) -> list[str]:
    """Return the topics that no broker lists after a while: a new topic takes a moment to appear."""
    end = time.monotonic() + _LISTED_WITHIN
    while missing and time.monotonic() < end:
        known = set(await admin.list_topics())
        missing = [name for name in missing if name not in known]
        await asyncio.sleep(0.2 if missing else 0)
    return missing


async def _log_id(
    kafka: Kafka, control: str, settings: Settings, deadline: float, load: ControlRecord | None
) -> str:
    """Return the id in the first ``epoch`` record of the control topic; writes one if there is none."""
    epoch, loaded = await _epoch(kafka, control, deadline)
    if epoch is None:
        record = ControlRecord(
            "epoch",
            log_id=secrets.token_hex(8),
            horizon=settings.horizon,
            schema=SCHEMA_VERSION,
            outcomes=load is None and settings.outcomes,
            savepoint=load.savepoint if load else "",
            created_at=load.created_at if load else 0,
        )
        async with running(kafka.producer()) as producer:
            await producer.send_and_wait(control, encode_control(record), partition=0)
        # Another worker may have been a moment earlier: the first record counts.
        epoch, loaded = await _epoch(kafka, control, deadline)
    if epoch is None:
        raise BrokerError(f"topic {control} does not keep its records")
    observations = Topics.of(settings.app_id).observations
    check_schema(await log_schema(kafka, settings, epoch, observations), settings)
    _check_load(epoch, loaded, settings, load)
    _check_horizon(epoch, settings)
    return epoch.log_id


def _check_load(
    epoch: ControlRecord,
    loaded: ControlRecord | None,
    settings: Settings,
    load: ControlRecord | None,
) -> None:
    """Check that a log is loaded to its end, or that ``load`` may go on."""
    app = settings.app_id
    if load is None:
        if epoch.savepoint and loaded is None:
            raise LogMismatchError(
                f"a savepoint is being loaded into the app {app}, or its load ended early: repeat "
                "`processor savepoint load`, then start"
            )
    elif loaded is not None:
        raise SavepointError(
            f"a savepoint was loaded into the app {app} already: start its workers, or load into a "
            "new PROCESSOR_APP_ID"
        )
    elif not epoch.savepoint:
        raise SavepointError(
            f"the app {app} has a state already: load the savepoint into a new PROCESSOR_APP_ID"
        )
    elif epoch.savepoint != load.savepoint:
        raise SavepointError(
            f"the load of another savepoint, or by another release, into the app {app} ended early: "
            "repeat that one, or load into a new PROCESSOR_APP_ID"
        )


def _check_horizon(epoch: ControlRecord, settings: Settings) -> None:
    if epoch.horizon != settings.horizon:
        # With another horizon the same log gives other counts.
        raise LogMismatchError(
            f"this log was created with a PROCESSOR_HORIZON of {epoch.horizon} s, not "
            f"{settings.horizon} s: set it back, or use a new PROCESSOR_APP_ID"
        )


async def _epoch(
    kafka: Kafka, control: str, deadline: float
) -> tuple[ControlRecord | None, ControlRecord | None]:
    """The first ``epoch`` record of the control topic, and the ``loaded`` record if it names a
    savepoint; None for each that is not there."""
    epoch = None
    async with running(kafka.consumer()) as consumer:
        partition = TopicPartition(control, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        start = (await consumer.beginning_offsets([partition]))[partition]
        consumer.seek(partition, start)
        limit = time.monotonic() + deadline
        while start < end:
            batches = await consumer.getmany(partition, timeout_ms=1000)
            for message in batches.get(partition, ()):
                start = message.offset + 1
                record = decode_control(message.value)
                if record.kind == "epoch" and epoch is None:
                    epoch = record
                if epoch is not None and (record.kind == "loaded" or not epoch.savepoint):
                    return epoch, record if record.kind == "loaded" else None
            if time.monotonic() > limit:
                raise BrokerError(f"topic {control} cannot be read to its end")
    return epoch, None
