"""Kafka clients: the addresses, credentials and limits of all of them."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    AuthenticationFailedError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from processor.errors import BrokerError
from processor.kafka.patches import patch_clients
from processor.kafka.reading import FAULTS, connection_error, explain
from processor.settings import Settings
from processor.tls import client_context

__all__ = [
    "FAULTS",
    "MAX_RECORD",
    "Kafka",
    "client_options",
    "explain",
    "heartbeat_seconds",
    "kafka_options",
    "running",
    "ssl_context",
]

#: The largest record of an internal topic, in bytes.
MAX_RECORD = 16 << 20


def heartbeat_seconds(session: int) -> float:
    """Return the seconds between the heartbeats of a group's member.

    ``session``: seconds of the session timeout. Two heartbeats in a row may be lost within it.

    >>> heartbeat_seconds(10), heartbeat_seconds(2)
    (1.0, 0.5)
    """
    return min(1.0, session / 4)


C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)


@contextlib.asynccontextmanager
async def running(client: C) -> AsyncIterator[C]:
    """Start a client, and stop it at the end of the block.

    The client is also stopped if its start fails, or else it would leave sockets and tasks behind:
    aiokafka's own context managers do not do this.
    """
    try:
        await client.start()
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


def client_options(settings: Settings, servers: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments that all aiokafka clients share: addresses, encryption and login."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(servers),
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_ssl:
        options["ssl_context"] = ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_user
        options["sasl_plain_password"] = str(settings.kafka_sasl_password)
    return options


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Return `client_options` for the broker in the settings, without its address.

    Empty if the settings have no broker (embedded mode).
    """
    if not settings.broker:
        return {}
    options = client_options(settings, settings.broker)
    options.pop("bootstrap_servers")
    return options


class _HangsUp(ssl.SSLObject):
    """A TLS connection that closes without waiting for the peer's close message.

    A broker that is still sending a record sends none, and each client would wait 30 s for it when it
    is closed (measured).
    """

    def unwrap(self) -> Any:
        with contextlib.suppress(ssl.SSLError):
            return super().unwrap()


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Make the TLS context of the settings. `SettingsError` if a file cannot be used."""
    context = client_context(
        "PROCESSOR_KAFKA", settings.kafka_ca, settings.kafka_cert, settings.kafka_key
    )
    context.sslobject_class = _HangsUp
    return context


class Kafka:
    """Makes clients for one cluster; they are not started yet (see `running`)."""

    def __init__(self, settings: Settings, servers: tuple[str, ...]) -> None:
        patch_clients()
        self.servers = servers
        self.settings = settings
        self._options = client_options(settings, servers)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """Make a producer whose acknowledged records are durable, and in order."""
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_RECORD,
            max_batch_size=1 << 20,
            **options,
        )

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """Make a consumer; the caller sets its group and its start."""
        session = self.settings.session_timeout
        return AIOKafkaConsumer(
            *topics,
            **self._options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=32 << 20,
            session_timeout_ms=session * 1000,
            heartbeat_interval_ms=round(heartbeat_seconds(session) * 1000),
            rebalance_timeout_ms=max(10, session) * 1000,
            **options,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """Make a client that creates and describes topics."""
        return AIOKafkaAdminClient(**self._options)

    def client(self) -> AIOKafkaClient:
        """Make a bare client, for single requests."""
        return AIOKafkaClient(**self._options)

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """Return the partitions of the given topics, without the topics that do not exist."""
        async with running(self.admin()) as admin:
            # A request for the partitions of a missing topic could create it.
            existing = sorted(set(topics) & set(await admin.list_topics()))
            return sorted(
                TopicPartition(topic["topic"], partition["partition"])
                for topic in (await admin.describe_topics(existing) if existing else ())
                for partition in topic["partitions"]
            )

    async def explain(self, error: BaseException) -> BrokerError:
        """Describe a fault in one line, with the setting to correct (see `connection_error`)."""
        if isinstance(error, InvalidSessionTimeoutError):
            return BrokerError(
                f"Kafka at {', '.join(self.servers)} refuses PROCESSOR_SESSION_TIMEOUT="
                f"{self.settings.session_timeout}s",
                "use a value between the brokers' group.min.session.timeout.ms and "
                "group.max.session.timeout.ms",
            )
        if not isinstance(error, KafkaConnectionError):
            return explain(error, self.servers)
        reason: BaseException = error
        for server in self.servers:
            reason = await connection_error(error, (server,), self._options)
            if (found := _remedy(reason, self.settings)) is not None:
                what, remedy = found
                return BrokerError(f"Kafka at {server} refuses the connection: {what}", remedy)
        return explain(reason, self.servers)


def _remedy(error: BaseException, settings: Settings) -> tuple[str, str] | None:
    """A fault of the login or the encryption, and its remedy; None for any other fault."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message})",
            "set PROCESSOR_KAFKA_CA to its authority's PEM file, and use a host name that the "
            "certificate has",
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no encryption agreed on ({error.reason or 'handshake failed'})",
            "check PROCESSOR_KAFKA_SECURITY_PROTOCOL, and PROCESSOR_KAFKA_CERT and _KEY if it wants "
            "them",
        )
    if isinstance(error, KafkaConnectionError) and str(error).endswith("closed"):
        return (
            "it answers and hangs up",
            "check PROCESSOR_KAFKA_SECURITY_PROTOCOL, and PROCESSOR_KAFKA_CERT and _KEY if it wants a "
            "certificate",
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return (
            f"it has no {settings.kafka_sasl_mechanism}",
            "set PROCESSOR_KAFKA_SASL_MECHANISM to one that it has",
        )
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return (
            f"the login of user {settings.kafka_sasl_user!r} failed",
            "check PROCESSOR_KAFKA_SASL_USER and PROCESSOR_KAFKA_SASL_PASSWORD",
        )
    return None
