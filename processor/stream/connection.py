"""How to reach Kafka: one place for addresses, credentials and limits of every client."""

import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from processor.errors import BrokerError, SettingsError
from processor.settings import Settings
from processor.stream.header_names import accept_any_header_name

#: Bytes of the largest record of an internal topic.
MAX_RECORD = 16 << 20


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


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """The context for an encrypted connection; a file that can't be read is a `SettingsError`."""
    try:
        context = ssl.create_default_context(
            cafile=str(settings.kafka_ca) if settings.kafka_ca else None
        )
        if settings.kafka_cert and settings.kafka_key:
            context.load_cert_chain(str(settings.kafka_cert), str(settings.kafka_key))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"PROCESSOR_KAFKA_CA, _CERT or _KEY can't be read: {error}: check the PEM files"
        ) from None
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
        accept_any_header_name()
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


def explain(error: BaseException, servers: tuple[str, ...]) -> BrokerError:
    """One line for a fault of the broker."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return BrokerError(f"Kafka at {', '.join(servers)} failed: {what}: check PROCESSOR_BROKER")


#: What a client raises when the broker is away or refuses.
FAULTS = (KafkaError, OSError, TimeoutError)
