"""Kafka Streams, Processor API on RocksDB: `java/` as a process, at least once or exactly once."""

import uuid
from pathlib import Path

from tests.support.servers.maven import Artifact, find_program
from tests.support.servers.process import free_port

from ..support.measure import Job, Run, clocked, service
from .environment import java_classes

VERSION = "3.9.1"

_ARTIFACTS = (
    Artifact("org.apache.kafka", "kafka-streams", VERSION),
    Artifact("com.fasterxml.jackson.core", "jackson-databind", "2.17.2"),
    Artifact("org.slf4j", "slf4j-reload4j", "1.7.36"),
)
_SOURCES = Path(__file__).parent / "java"
_LOG4J = """log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.SimpleLayout
"""


def prepare() -> None:
    """Fetch and compile; PeerMissing says why that can't be done here."""
    _class_path()


def _class_path() -> str:
    return java_classes(f"kafka-streams-{VERSION}", _SOURCES, _ARTIFACTS)


def at_least_once(job: Job) -> Run:
    return _run("kafka-streams", job, "at_least_once")


def exactly_once(job: Job) -> Run:
    return _run("kafka-streams-eos", job, "exactly_once_v2")


def _run(system: str, job: Job, guarantee: str) -> Run:
    port, log4j = free_port(), job.folder / "log4j.properties"
    log4j.write_text(_LOG4J)
    command = [
        find_program("java", "default-jre-headless"), "-Xmx512m", "-XX:+UseParallelGC",
        f"-Dlog4j.configuration=file:{log4j}", "-cp", _class_path(), "Peer",
        f"{system}-{uuid.uuid4().hex[:12]}", job.bootstrap, job.topic, str(job.partitions),
        str(port), str(job.folder / "state"), guarantee,
    ]  # fmt: skip
    with service(system, command, job.folder / "log", port) as one:
        return clocked(one, job, 60 + job.events / 1000)
