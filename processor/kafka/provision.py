"""Everything that an administrator makes on Kafka for an app: its internal topics, and its rights.

Each can be written as a table, as commands of Kafka's own tools, and as resources of Strimzi.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from processor.kafka.topics import TopicSpec

#: Characters of a regular expression that stand for themselves, an escaped mark too.
_LETTERS = re.compile(r"(?:[A-Za-z0-9_-]|\\[.\-])*")

#: The rights on the whole cluster: the number of brokers decides how often a topic is replicated.
_CLUSTER = ("Describe", "DescribeConfigs")


class Right(NamedTuple):
    """Operations on a resource. ``resource`` is topic, group or cluster; ``prefixed`` rights are on all
    resources whose names begin with ``name``."""

    resource: str
    name: str
    prefixed: bool
    operations: tuple[str, ...]


def rights(app_id: str, sources: Iterable[str], create: bool) -> list[Right]:
    """Return the rights that the workers of an app need on its source topics and on its own.

    ``create``: whether they create their topics themselves (``PROCESSOR_CREATE_TOPICS``).
    """
    own = ("Read", "Write", "Describe", "DescribeConfigs", *(("Create",) if create else ()))
    return [
        *(Right("topic", *_pattern(name), ("Read", "Describe")) for name in sources),
        Right("topic", f"{app_id}-", True, own),
        Right("group", app_id, True, ("Read", "Describe")),
        Right("cluster", "kafka-cluster", False, _CLUSTER),
    ]


def _pattern(source: str) -> tuple[str, bool]:
    """The name of a source topic; of a pattern the letters that all its topics begin with, as a prefix,
    and ``*``, which stands for all topics in Kafka, if there are none."""
    if not source.startswith("^"):
        return source, False
    found = _LETTERS.match(source, 1)
    letters = found[0] if found and "|" not in source.partition("(")[0] else ""
    # A letter before a quantifier may be absent.
    if source[1 + len(letters) :][:1] in ("*", "?", "{"):
        letters = letters[:-2] if letters[-2:-1] == "\\" else letters[:-1]
    prefix = letters.replace("\\", "")
    return (prefix, True) if prefix else ("*", False)


def as_text(topics: Iterable[TopicSpec], granted: Iterable[Right]) -> Iterator[str]:
    """Yield the lines of two tables, for people."""
    yield "Topics"
    for topic in topics:
        settings = " ".join(f"{name}={value}" for name, value in topic.config.items())
        yield f"  {topic.name}  partitions={topic.partitions}  {settings}"
    yield "Rights"
    for right in granted:
        name = f"{right.name}*" if right.prefixed else right.name
        yield f"  {right.resource} {name}: {', '.join(right.operations)}"


def as_commands(
    topics: Iterable[TopicSpec],
    granted: Iterable[Right],
    replication: int,
    in_sync: int,
    principal: str,
    servers: str,
) -> Iterator[str]:
    """Yield commands for ``kafka-topics.sh`` and ``kafka-acls.sh`` of Kafka's distribution."""
    for topic in topics:
        config = {**topic.config, "min.insync.replicas": str(in_sync)}
        yield shlex.join(
            [
                *("kafka-topics.sh", "--bootstrap-server", servers, "--create", "--if-not-exists"),
                *("--topic", topic.name, "--partitions", str(topic.partitions)),
                *("--replication-factor", str(replication)),
                *(part for name in config for part in ("--config", f"{name}={config[name]}")),
            ]
        )
    for right in granted:
        resource = (
            ["--cluster"] if right.resource == "cluster" else [f"--{right.resource}", right.name]
        )
        pattern = ["--resource-pattern-type", "prefixed"] if right.prefixed else []
        yield shlex.join(
            [
                *("kafka-acls.sh", "--bootstrap-server", servers, "--add"),
                *("--allow-principal", principal, *resource, *pattern),
                *(part for each in right.operations for part in ("--operation", each)),
            ]
        )


def as_strimzi(
    topics: Iterable[TopicSpec],
    granted: Iterable[Right],
    replication: int,
    in_sync: int,
    user: str,
    cluster: str,
) -> Iterator[dict[str, object]]:
    """Yield a KafkaTopic for each topic, and a KafkaUser with a client certificate."""
    labels = {"strimzi.io/cluster": cluster}
    for topic in topics:
        yield {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaTopic",
            "metadata": {"name": topic.name.lower().replace("_", "-"), "labels": labels},
            "spec": {
                "topicName": topic.name,
                "partitions": topic.partitions,
                "replicas": replication,
                "config": {**topic.config, "min.insync.replicas": str(in_sync)},
            },
        }
    yield {
        "apiVersion": "kafka.strimzi.io/v1beta2",
        "kind": "KafkaUser",
        "metadata": {"name": user, "labels": labels},
        "spec": {
            "authentication": {"type": "tls"},
            "authorization": {"type": "simple", "acls": [_strimzi_acl(each) for each in granted]},
        },
    }


def _strimzi_acl(right: Right) -> dict[str, object]:
    resource: dict[str, str] = {"type": right.resource}
    if right.resource != "cluster":
        resource["name"] = right.name
        resource["patternType"] = "prefix" if right.prefixed else "literal"
    return {"resource": resource, "operations": list(right.operations)}
