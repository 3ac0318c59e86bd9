"""The systems that `python -m bench` compares, how each is started, and one run of each.

A system that can't be installed, or that fails, is left out of the results with the reason.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support.servers.maven import Artifact, find_program
from tests.support.servers.process import free_port

from ..support import processor_app
from ..support.command import say
from ..support.measure import BenchError, Job, Run, clocked, service
from ..support.processor_app import fresh_name
from ..support.report import Results
from . import baseline_consumer, naive_faust
from .environment import PeerMissing, java_classes, python_with

#: Without these there is nothing to compare: their failure ends the benchmark.
NEEDED = ("bare", "processor")

_KAFKA_STREAMS = "3.9.1"
_JARS = (
    Artifact("org.apache.kafka", "kafka-streams", _KAFKA_STREAMS),
    Artifact("com.fasterxml.jackson.core", "jackson-databind", "2.17.2"),
    Artifact("org.slf4j", "slf4j-reload4j", "1.7.36"),
)
_LOG4J = """log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.SimpleLayout
"""
_BYTEWAX = ("bytewax[kafka]==0.21.1", "orjson>=3.10")
_QUIX = ("quixstreams==3.28.1",)


@dataclass(frozen=True)
class System:
    """A system by name, and its title in the table.

    `prepare` fetches what `run` needs, before anything is timed; it may raise PeerMissing.

    `once`: so slow that it runs in the first round alone, on a slice of the events.
    """

    name: str
    title: str
    run: Callable[[Job], Run]
    prepare: Callable[[], object] | None = None
    once: bool = False


def class_path() -> str:
    """The class path of the Kafka Streams program, fetched and compiled if need be, or PeerMissing."""
    return java_classes(f"kafka-streams-{_KAFKA_STREAMS}", Path(__file__).parent / "java", _JARS)


def _kafka_streams(name: str, title: str, guarantee: str) -> System:
    """Kafka Streams, Processor API on RocksDB, in a Java process."""

    def run(job: Job) -> Run:
        port, log4j = free_port(), job.folder / "log4j.properties"
        log4j.write_text(_LOG4J)
        command = [
            find_program("java", "default-jre-headless"), "-Xmx512m", "-XX:+UseParallelGC",
            f"-Dlog4j.configuration=file:{log4j}", "-cp", class_path(), "Peer",
            fresh_name(), job.bootstrap, job.topic, str(job.partitions),
            str(port), str(job.folder / "state"), guarantee,
        ]  # fmt: skip
        return _clocked(name, command, port, job)

    return System(name, title, run, class_path)


def _python_app(
    name: str, title: str, packages: Sequence[str], module: str, mode: str
) -> System:  # fmt: skip
    """A module beside this one, run in a virtual environment with its packages."""
    environment = partial(python_with, module, packages)

    def run(job: Job) -> Run:
        port, state = free_port(), str(job.folder / "state")
        options = json.dumps([fresh_name(), job.bootstrap, job.topic, port, state, mode])
        return _clocked(
            name, [str(environment()), "-m", f"{__package__}.{module}", options], port, job
        )

    return System(name, title, run, environment)


def _clocked(name: str, command: Sequence[str], port: int, job: Job) -> Run:
    with service(name, command, job.folder / "log", port) as one:
        # A tenth of the rates seen; it is there to end, not to judge.
        return clocked(one, job, 60 + job.events / 1000)


SYSTEMS = (
    System("bare", "bare aiokafka + msgspec, decode only", baseline_consumer.run),
    System("processor", "processor", processor_app.run),
    _kafka_streams("kafka-streams", "Kafka Streams, at least once", "at_least_once"),
    _kafka_streams("kafka-streams-eos", "Kafka Streams, exactly once", "exactly_once_v2"),
    _python_app("bytewax", "Bytewax, no recovery", _BYTEWAX, "bytewax_app", "none"),
    _python_app(
        "bytewax-recovery", "Bytewax, recovery every second", _BYTEWAX, "bytewax_app", "recovery"
    ),
    _python_app("quix", "Quix Streams, at least once", _QUIX, "quix_app", "at-least-once"),
    _python_app("quix-eos", "Quix Streams, exactly once", _QUIX, "quix_app", "exactly-once"),
    System("naive", "naive Faust, a table write per event", naive_faust.run, once=True),
)
TITLES = {system.name: system.title for system in SYSTEMS}


def prepare(systems: Sequence[System]) -> dict[str, str]:
    """Fetch what they need, before anything is timed; the reason of each that is left out."""
    left_out: dict[str, str] = {}
    for system in systems:
        try:
            if system.prepare is not None:
                system.prepare()
        except PeerMissing as error:
            _leave_out(left_out, system, f"not installed: {error}", str(error))
    return left_out


def run(system: System, job: Job, results: Results) -> bool:
    """Add its run to the last round; False if it failed. A needed one raises its BenchError."""
    number = len(results.rounds)
    try:
        found = system.run(job)
    except BenchError as error:
        if system.name in NEEDED:
            raise
        first_line = str(error).partition("\n")[0].replace("|", "/")
        _leave_out(results.left_out, system, f"failed in round {number}: {first_line}", str(error))
        return False
    results.rounds[-1][system.name] = found
    say(f"round {number}: {system.name} {found.rate:,.0f} events/s")
    return True


def _leave_out(left_out: dict[str, str], system: System, reason: str, whole: str) -> None:
    left_out[system.name] = reason
    say(f"{system.name} left out: {whole}")
