"""Real servers for tests and benchmarks: given by address, by Docker, or as plain processes."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Protocol

from .kafka import KafkaServer
from .maven import ServerError

__all__ = ["Broker", "GivenBroker", "KafkaServer", "ServerError", "kafka_address", "kafka_server"]

#: The Confluent platform whose broker is Kafka 3.9.
_IMAGE = "confluentinc/cp-kafka:7.9.1"

_DOCKER_SECONDS = 3


class Broker(Protocol):
    """Any broker; for one that can be killed and restarted use KafkaServer itself."""

    @property
    def bootstrap(self) -> str: ...


class GivenBroker(NamedTuple):
    bootstrap: str


@contextmanager
def kafka_server() -> Iterator[Broker]:
    """A broker, from the first of: PROCESSOR_TEST_KAFKA, Docker if an engine answers, Java."""
    given = os.environ.get("PROCESSOR_TEST_KAFKA", "").removeprefix("kafka://")
    if given:
        yield GivenBroker(given)
        return
    with ExitStack() as stack:
        broker: Broker | None = None
        if _docker_answers():
            try:
                broker = stack.enter_context(_docker_kafka())
            except Exception as error:  # Docker's, requests' and testcontainers' own kinds.
                warnings.warn(f"Kafka by Docker failed, using Java: {error}", stacklevel=2)
        yield broker or stack.enter_context(KafkaServer())


@contextmanager
def kafka_address() -> Iterator[GivenBroker]:
    """The same, as other processes of the run can have it."""
    with kafka_server() as broker:
        yield GivenBroker(broker.bootstrap)


def _docker_answers() -> bool:
    try:
        from testcontainers.core.docker_client import DockerClient

        client = DockerClient(timeout=_DOCKER_SECONDS).client
        try:
            return bool(client.ping())
        finally:
            client.close()
    except Exception:  # Not installed, no socket, no rights, no answer: all mean the same here.
        return False


@contextmanager
def _docker_kafka() -> Iterator[GivenBroker]:
    from testcontainers.kafka import KafkaContainer

    container = KafkaContainer(_IMAGE).with_kraft()
    container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    container.with_env("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000")
    with container:
        yield GivenBroker(container.get_bootstrap_server())
