"""How to reach Kafka: one place for addresses, credentials and limits of every client."""

import contextlib
import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from processor.errors import BrokerError
from processor.kafka.patches import patch_consumers
from processor.kafka.reading import FAULTS, explain
from processor.settings import Settings
from processor.tls import client_context

__all__ = [
    "FAULTS",
    "MAX_RECORD",
    "Kafka",
    "client_options",
    "explain",
    "kafka_options",
    "ssl_context",
]

#: Bytes of the largest record of an internal topic.
MAX_RECORD = 16 << 20
#: Milliseconds for a connection that is tried only to hear why it fails.
_TRY_MS = 10_000


def client_options(settings: Settings, servers: tuple[str, ...]) -> dict[str, Any]:
    """Arguments that every aiokafka client takes."""
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
    """The same for the broker of the settings but for its address; empty without one."""
    if not settings.broker:
        return {}
    options = client_options(settings, settings.broker)
    options.pop("bootstrap_servers")
    return options


class _HangsUp(ssl.SSLObject):
    """Says goodbye and does not wait for the answer. A broker that still sends a record gives none,
    and every client that is closed would wait 30 s for it (measured)."""

    def unwrap(self) -> Any:
        with contextlib.suppress(ssl.SSLError):
            return super().unwrap()


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """The context for an encrypted connection; a file that can't be used is a `SettingsError`."""
    context = client_context(
        "PROCESSOR_KAFKA", settings.kafka_ca, settings.kafka_cert, settings.kafka_key
    )
    context.sslobject_class = _HangsUp
    return context


class Kafka:
    """Makes clients for one cluster."""

    def __init__(self, settings: Settings, servers: tuple[str, ...]) -> None:
        self.servers = servers
        self.settings = settings
        self._options = client_options(settings, servers)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """A producer whose records are durable once acknowledged, and in order."""
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            # The embedded broker has no producer ids. A repeat is harmless there too: it is one
            # broker in memory, and the fold skips what it has.
            enable_idempotence=not self.settings.embedded,
            max_request_size=MAX_RECORD,
            max_batch_size=1 << 20,
            **options,
        )

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """A consumer; the caller says which group and where to start."""
        patch_consumers()
        return AIOKafkaConsumer(
            *topics,
            **self._options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=32 << 20,
            **options,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """A client for topics."""
        return AIOKafkaAdminClient(**self._options)

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        """The partitions of those of the topics that are there."""
        admin = self.admin()
        try:
            await admin.start()
            # To ask for the partitions of a topic that is missing could make it.
            there = sorted(set(topics) & set(await admin.list_topics()))
            return sorted(
                TopicPartition(topic["topic"], partition["partition"])
                for topic in (await admin.describe_topics(there) if there else ())
                for partition in topic["partitions"]
            )
        finally:
            await admin.close()

    async def explain(self, error: BaseException) -> BrokerError:
        """One line for a fault, with the setting to correct. A client that could not connect has kept
        the reason to itself, so one more connection is tried for it."""
        if not isinstance(error, KafkaConnectionError):
            return explain(error, self.servers)
        for server in self.servers:
            host, _, port = server.rpartition(":")
            options = {**self._options, "request_timeout_ms": _TRY_MS}
            del options["bootstrap_servers"]
            try:
                connection = await create_conn(host.strip("[]"), int(port), **options)
            except FAULTS as reason:
                error = reason
                if (remedy := _remedy(reason, self.settings)) is not None:
                    return BrokerError(f"Kafka at {server} refuses the connection: {remedy}")
            else:
                connection.close()
        return explain(error, self.servers)


def _remedy(error: BaseException, settings: Settings) -> str | None:
    """What is wrong with the login or the encryption; None if it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): set PROCESSOR_KAFKA_CA to its "
            "authority's PEM file, and use a host name that the certificate has"
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"no encryption agreed on ({error.reason or 'handshake failed'}): check "
            "PROCESSOR_KAFKA_SECURITY_PROTOCOL, and PROCESSOR_KAFKA_CERT and _KEY if it wants them"
        )
    if isinstance(error, KafkaConnectionError) and str(error).endswith("closed"):
        return (
            "it answers and hangs up: check PROCESSOR_KAFKA_SECURITY_PROTOCOL, and "
            "PROCESSOR_KAFKA_CERT and _KEY if it wants a certificate"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return (
            f"it has no {settings.kafka_sasl_mechanism}: set PROCESSOR_KAFKA_SASL_MECHANISM to one "
            "that it has"
        )
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return (
            f"the login of user {settings.kafka_sasl_user!r} failed: check "
            "PROCESSOR_KAFKA_SASL_USER and PROCESSOR_KAFKA_SASL_PASSWORD"
        )
    return None
