"""The Java SDK of CloudEvents, whose Kafka serializer is Knative's."""

import base64
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .kafka import VERSION as KAFKA
from .maven import Artifact, ServerError, fetch_jars, find_program

#: As in Knative's broker for Kafka.
VERSION = "4.0.1"

_ARTIFACTS = (
    Artifact("io.cloudevents", "cloudevents-kafka", VERSION),
    Artifact("io.cloudevents", "cloudevents-json-jackson", VERSION),
    Artifact("org.apache.kafka", "kafka-clients", KAFKA),
)
_SOURCE = Path(__file__).parent / "java" / "SendCloudEvents.java"


def fetch() -> Path:
    """The folder with the SDK's jars, from Maven Central the first time."""
    return fetch_jars(f"cloudevents-{VERSION}", _ARTIFACTS)


class Sent(NamedTuple):
    """What an event carries beside the names of its model, which are those of the tests."""

    request_id: str
    type: str
    content_type: str
    protocol: str
    body: bytes

    def as_line(self) -> str:
        return "\t".join([*self[:4], base64.b64encode(self.body).decode()])


def send_cloudevents(bootstrap: str, topic: str, mode: str, events: Iterable[Sent]) -> None:
    """Put events on a topic with the official serializer; ``mode``: BINARY or STRUCTURED."""
    java = find_program("java", "openjdk-17-jdk-headless")
    jars = fetch()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("".join(event.as_line() + "\n" for event in events))
        file.flush()
        # A single source file is compiled as it is started: this needs a JDK.
        done = subprocess.run(
            [java, "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", str(_SOURCE), bootstrap, topic,
             mode, file.name],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
    if done.returncode != 0:
        raise ServerError(f"the Java SDK could not send:\n{done.stderr[-2000:]}")
