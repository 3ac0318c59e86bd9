"""The part of ``processor check`` that asks Kafka: the brokers, the source topics, and the app's own
topics, which are compared with the settings as at a start."""

from collections.abc import AsyncIterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from processor.errors import ProcessorError
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.topic_names import is_pattern, matching, source_candidates
from processor.kafka.topics import Topics, check_log, check_topic, specs
from processor.settings import Settings

#: The most topics in a line.
_MAX_NAMES = 10

#: What was tested, the verdict, and the details.
Result = tuple[str, Literal["ok", "notice", "WRONG"], str]

#: What is said of an internal topic that is missing, by whether the service may create it.
_MISSING: dict[bool, tuple[Literal["ok", "WRONG"], str]] = {
    True: ("ok", "will be created at the first start"),
    False: (
        "WRONG",
        "does not exist, and PROCESSOR_CREATE_TOPICS is off: 'processor topics' prints how to create it",
    ),
}


async def check_kafka(settings: Settings) -> AsyncIterator[Result]:
    """Test the brokers and all topics; changes nothing."""
    try:
        kafka = Kafka(settings, settings.broker)
    except ProcessorError as error:  # a file of PROCESSOR_KAFKA_CA, _CERT or _KEY
        yield "broker", "WRONG", str(error)
        return
    try:
        async with running(kafka.admin()) as admin:
            async for result in _check(kafka, admin, settings):
                yield result
    except FAULTS as error:
        yield "broker", "WRONG", str(await kafka.explain(error))


async def _check(kafka: Kafka, admin: Any, settings: Settings) -> AsyncIterator[Result]:
    brokers = len((await admin.describe_cluster())["brokers"])
    yield "broker", "ok", f"{', '.join(kafka.servers)} answers, {brokers} in the cluster"
    if settings.replication and settings.replication > brokers:
        yield (
            "broker",
            "WRONG",
            f"PROCESSOR_REPLICATION={settings.replication} needs as many brokers, there are {brokers}",
        )
    found = {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics(list(await admin.list_topics()))
    }
    for entry in settings.topics:
        yield _check_source(entry, found, settings.topics_optional)
    wanted = specs(settings, Topics.of(settings.app_id))
    missing = [spec.name for spec in wanted if spec.name not in found]
    for spec in wanted:
        if spec.name in missing:
            yield f"topic {spec.name}", *_MISSING[settings.create_topics]
            continue
        try:
            await check_topic(admin, spec, found[spec.name])
            yield f"topic {spec.name}", "ok", f"{found[spec.name]} partitions, settings as needed"
        except ProcessorError as error:
            yield f"topic {spec.name}", "WRONG", str(error)
    if Topics.of(settings.app_id).control not in missing:
        try:
            log_id = await check_log(kafka, settings, missing)
            yield "log", "ok", f"log {log_id} fits" if log_id else "not in use yet"
        except ProcessorError as error:
            yield "log", "WRONG", str(error)


def _check_source(entry: str, found: Mapping[str, int], optional: bool) -> Result:
    candidates = source_candidates(found)
    names = matching(entry, candidates if is_pattern(entry) else found)
    if names:
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        what = f"{', '.join(names[:_MAX_NAMES])}{more}: " if is_pattern(entry) else ""
        return f"topic {entry}", "ok", f"{what}{sum(found[name] for name in names)} partitions"
    close = get_close_matches(entry.removeprefix("^"), candidates, 3)
    hint = f"; there is {', '.join(close)}" if close else ""
    subject, what = (
        ("no topic matches", "") if is_pattern(entry) else ("does not exist", "create it, ")
    )
    detail = f"{subject}: {what}{'or ' if what else ''}correct PROCESSOR_TOPICS{hint}"
    return f"topic {entry}", "notice" if optional else "WRONG", detail
