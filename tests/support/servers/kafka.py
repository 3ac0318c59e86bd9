"""A real Apache Kafka broker (KRaft, one node) as a plain Java process on loopback."""

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from .maven import Artifact, ServerError, fetch_jars, find_program
from .process import RestartableServer, ServerProcess, free_port

VERSION = "3.9.1"

_ARTIFACTS = (
    Artifact("org.apache.kafka", "kafka_2.13", VERSION),
    # Without a binding Kafka logs nothing, and a failed start would say nothing.
    Artifact("org.slf4j", "slf4j-reload4j", "1.7.36"),
)

_LOG4J = """log4j.rootLogger=WARN, console
log4j.logger.kafka.server.KafkaRaftServer=INFO
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""


def fetch() -> Path:
    """The folder with Kafka's jars, from Maven Central the first time."""
    return fetch_jars(f"kafka-{VERSION}", _ARTIFACTS)


class KafkaServer(RestartableServer):
    """One broker that is its own controller; `restart` keeps its port and its data.

    Kafka's settings are given with dots in `settings`, and win over the ones below.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, node_id: int = 1,
        start_seconds: float = 90, heap: str = "512m", cluster_id: str = "",
    ) -> None:  # fmt: skip
        super().__init__("Kafka", start_seconds, stop_seconds=20)
        self.node_id = node_id
        self._cluster_id = cluster_id or new_uuid()
        self.port = free_port()
        self.controller_port = free_port()
        self.settings = dict(settings or {})
        self._heap = heap

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _launch(self) -> ServerProcess:
        java = find_program("java", "openjdk-17-jre-headless")
        library = fetch()
        # Stopping at the first compiler: on two cores it starts in 1.7 s instead of 2.4 s, takes
        # 40 % less CPU for 2 million records, and is no slower for its clients (measured).
        return ServerProcess(
            [java, f"-Xms{self._heap}", f"-Xmx{self._heap}", "-XX:+UseSerialGC",
             "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
             "-Djava.awt.headless=true",
             f"-Dlog4j.configuration=file:{self.folder / 'log4j.properties'}",
             "-cp", f"{library}/*", "kafka.Kafka", "server.properties"],
            folder=self.folder, log=self.folder / "server.log",
        )  # fmt: skip

    def run_tool(self, name: str, *args: str) -> None:
        """Run one of Kafka's command line tools, by its class; ServerError with its output if it
        fails."""
        java = find_program("java", "openjdk-17-jre-headless")
        library = fetch()
        done = subprocess.run(
            [java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{library}/*", name, *args],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerError(f"{name} failed:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        """Whether the broker itself answers that it leads its cluster."""
        return self.node_id in broker_ids(self.port)

    def _prepare(self, folder: Path) -> None:
        """What `StorageTool format` writes, without the 1.5 s of another Java process."""
        data = folder / "data"
        data.mkdir()
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id={self._cluster_id}\nnode.id={self.node_id}\n"
            f"directory.id={new_uuid()}\n"
        )
        (folder / "log4j.properties").write_text(_LOG4J)
        lines = [f"{key}={value}\n" for key, value in self._properties(data).items()]
        (folder / "server.properties").write_text("".join(lines))

    def _properties(self, data: Path) -> dict[str, str]:
        plain, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": f"{self.node_id}@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{plain},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{plain}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(data),
            # The processor makes its topics itself; one that it forgets must show as an error.
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # A test may ask for any session timeout from 1 s up.
            "group.min.session.timeout.ms": "1000",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "num.replica.fetchers": "1",
            "background.threads": "2",
            "log.cleaner.threads": "1",
            "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
            # The least that Kafka takes for that buffer with the default I/O buffer.
            "log.cleaner.io.buffer.size": str(64 * 1024),
            # A killed broker can register again only after its old session: 15 s by default.
            # Not less: on a busy machine a live broker would lose its session.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            **self.settings,
        }


def new_uuid() -> str:
    """A random id as Kafka writes one; it refuses a leading dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def broker_ids(port: int, seconds: float = 2) -> list[int]:
    """The live brokers by a Metadata request (API 3, version 1); empty while nobody answers.

    By hand over a socket, since an asyncio client can't be used from a fixture whose caller
    may already run a loop.
    """
    request = struct.pack(">hhih4si", 3, 1, 1, 4, b"test", 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                body = stream.read(size)
        return _parse_broker_ids(body)
    except (OSError, struct.error):
        return []


def _parse_broker_ids(body: bytes) -> list[int]:
    _, count = struct.unpack_from(">ii", body)
    position, ids = 8, []
    for _ in range(count):
        node_id, length = struct.unpack_from(">ih", body, position)
        # id, host, port, and a rack that may be null (length -1).
        position += 6 + length + 4
        (rack,) = struct.unpack_from(">h", body, position)
        position += 2 + max(rack, 0)
        ids.append(node_id)
    return ids
