"""The settings of the service: the environment variable, default and meaning of each."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from processor import setting_values as values
from processor.domain.tally.windows import Window, parse_window
from processor.errors import SettingsError, without_credentials
from processor.setting_values import HTTP, METRIC_GROUPS, Secret

T = TypeVar("T")


def _setting(default: str, parse: Callable[[str], T], meaning: str, secret: bool = False) -> T:
    metadata = {"default": default, "parse": parse, "meaning": meaning, "secret": secret}
    return field(default_factory=lambda: parse(default), metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the service, one field per variable: ``app_id`` is ``PROCESSOR_APP_ID``. A
    secret can also be in a file, which the variable with the suffix ``_FILE`` names. Units are
    seconds, bytes and ports, unless the meaning says otherwise."""

    app_id: str = _setting(
        "feedback-metrics",
        values.app_id,
        "name of the app: its consumer group, and the prefix of its internal topics",
    )
    broker: tuple[str, ...] = _setting(
        "", values.broker, "the Kafka brokers; empty: embedded, without Kafka"
    )
    topics: tuple[str, ...] = _setting(
        "knative-messaging-kafka.seldon-logs.default-kne-trigger",
        values.topics,
        "the source topics, from which events are read; an entry that begins with ^ is a pattern",
    )
    topics_optional: bool = _setting(
        "off", values.flag, "report ready although source topics are missing"
    )
    partitions: int = _setting(
        "8",
        values.number(1, 10_000),
        "number of partitions of the internal topics; fixed once they exist",
    )
    archive: str = _setting(
        "",
        values.archive,
        "where past events are; default SQLite in PROCESSOR_DATA when embedded, else none",
    )
    retention: int | None = _setting(
        "",
        values.retention,
        "how long the embedded SQLite archive keeps events; default 90d, or the horizon if longer",
    )
    index: str = _setting("inference-log-*", str, "indices of the request logger's documents")
    bootstrap: str = _setting("auto", values.bootstrap, "how much of the archive a start reads")
    windows: tuple[Window, ...] = _setting(
        "5m,1h,24h,7d,all", values.windows, "the rolling windows"
    )
    horizon: int = _setting("7d", values.horizon, "how long a request stays in memory")
    maturity: int | None = _setting(
        "",
        values.maturity,
        "age at which a prediction's labels count as complete; default the horizon, at most 7d",
    )
    metrics_port: int = _setting("9102", values.number(0, 65535), "port of /metrics and the page")
    metrics_token: Secret = _setting(
        "", Secret, "bearer token that readers of the metrics port need", secret=True
    )
    metrics_cert: Path | None = _setting(
        "", values.optional_path, "PEM file of the metrics port's certificate"
    )
    metrics_key: Path | None = _setting(
        "", values.optional_path, "PEM file of that certificate's key"
    )
    metrics_ca: Path | None = _setting(
        "", values.optional_path, "PEM file of the authority of the other workers' certificates"
    )
    advertised_address: tuple[str, int | None] | None = _setting(
        "",
        values.address,
        "host, or host:port, where other workers reach the metrics port; default this machine's own",
    )
    ingress_port: int = _setting("8080", values.number(0, 65535), "port that takes events")
    data: Path = _setting("./data", Path, "folder for snapshots and SQLite")
    snapshots: str = _setting(
        "",
        values.snapshots,
        "where snapshots are copied to for other workers: a folder or an S3 bucket; default nowhere",
    )
    models: Path | None = _setting("", values.optional_path, "path of the models file")
    replication: int | None = _setting(
        "",
        values.optional_number(1, 100),
        "replicas of the internal topics; default 3, or the number of brokers if fewer",
    )
    cell_windows: tuple[Window, ...] = _setting(
        "all", values.windows, "windows whose confusion matrix is in /metrics"
    )
    metrics_by: tuple[str, ...] = _setting(
        "request,feedback", values.bases, "time bases whose metrics are in /metrics"
    )
    metrics: tuple[str, ...] = _setting(
        ",".join(METRIC_GROUPS), values.metrics, "groups of model metrics in /metrics"
    )
    min_insync_replicas: int | None = _setting(
        "",
        values.optional_number(1, 100),
        "min.insync.replicas of the internal topics; default 2 with three brokers, else 1",
    )
    create_topics: bool = _setting(
        "on", values.flag, "create the internal topics that are missing; off: only check them"
    )
    max_memory: int | None = _setting(
        "",
        values.size,
        "limit for requests in memory; above it the oldest leave early; default 256MiB when embedded",
    )
    max_broker_memory: int | None = _setting(
        "1GiB", values.size, "no longer used: the embedded mode has no broker"
    )
    max_classes: int = _setting("64", values.number(1, 10_000), "labels shown per model and window")
    max_models: int = _setting("1000", values.number(1, 1_000_000), "models shown by a worker")
    session_timeout: int = _setting(
        "10s",
        values.session_timeout,
        "silence after which Kafka gives a worker's partitions to others",
    )
    kafka_security_protocol: str = _setting(
        "PLAINTEXT",
        values.choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "protocol of the connection to Kafka",
    )
    kafka_sasl_mechanism: str = _setting(
        "PLAIN", values.choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "SASL mechanism"
    )
    kafka_sasl_user: str = _setting("", str, "SASL user")
    kafka_sasl_password: Secret = _setting("", Secret, "SASL password", secret=True)
    kafka_ca: Path | None = _setting("", values.optional_path, "PEM file of the brokers' authority")
    kafka_cert: Path | None = _setting(
        "", values.optional_path, "PEM file of the client's certificate"
    )
    kafka_key: Path | None = _setting(
        "", values.optional_path, "PEM file of that certificate's key"
    )
    es_user: str = _setting("", str, "Elasticsearch user")
    es_password: Secret = _setting("", Secret, "Elasticsearch password", secret=True)
    es_api_key: Secret = _setting("", Secret, "Elasticsearch API key", secret=True)
    es_ca: Path | None = _setting("", values.optional_path, "PEM file of Elasticsearch's authority")
    ingress_token: Secret = _setting("", Secret, "bearer token that senders need", secret=True)
    ingress_cert: Path | None = _setting(
        "", values.optional_path, "PEM file of the ingress port's certificate"
    )
    ingress_key: Path | None = _setting(
        "", values.optional_path, "PEM file of that certificate's key"
    )
    ingress_ca: Path | None = _setting(
        "", values.optional_path, "PEM file of the senders' authority"
    )
    # Below the largest record of the log, so that every accepted body can be kept.
    ingress_max_body: int = _setting(
        "10485760", values.number(1, 15 << 20), "largest body, in bytes"
    )
    ingress_max_in_flight: int = _setting(
        "1000", values.number(1, 1_000_000), "largest number of requests at the same time"
    )
    outcomes: bool = _setting(
        "off", values.flag, "write each prediction's outcome back to the archive"
    )
    request_logger: bool = _setting(
        "off", values.flag, "write the source's events to Elasticsearch"
    )
    custom_statistics: bool = _setting(
        "off", values.flag, "run the statistics of your own that the models file names"
    )
    upgrade: str = _setting(
        "off",
        values.choice("off", "auto"),
        "whether a start moves the app itself from a log of an older schema",
    )
    log_level: str = _setting(
        "INFO", values.choice("DEBUG", "INFO", "WARNING", "ERROR"), "minimum level of log lines"
    )
    log_format: str = _setting("text", values.choice("text", "json"), "format of log lines")
    # Read from the environment when the native extension is loaded, before settings exist.
    compiled: str = _setting(
        "auto", values.choice("auto", "off"), "use of the native extension, where it is installed"
    )

    @property
    def embedded(self) -> bool:
        """Whether the service runs without Kafka, on events that come in over HTTP."""
        return not self.broker

    @property
    def elasticsearch(self) -> bool:
        """Whether the archive is in Elasticsearch."""
        return self.archive.startswith(HTTP)

    @property
    def has_archive(self) -> bool:
        """Whether an archive can look up requests: Elasticsearch, or SQLite in the embedded mode."""
        return self.embedded or self.elasticsearch

    @property
    def archive_path(self) -> Path:
        """The file of the embedded mode's archive."""
        path = self.archive.removeprefix("sqlite:")
        return Path(path) if path else self.data / "events.sqlite"

    @property
    def join_memory(self) -> int:
        """The limit (bytes) for requests in memory in the embedded mode, which reads those that left
        memory back from its archive."""
        return _EMBEDDED_MEMORY if self.max_memory is None else self.max_memory

    @property
    def event_retention(self) -> int:
        """How long (s) the archive of the embedded mode keeps events."""
        return max(90 * 86_400, self.horizon) if self.retention is None else self.retention

    @property
    def label_maturity(self) -> int:
        """The age (s) from which a prediction's labels count as complete."""
        return min(self.horizon, 7 * 86_400) if self.maturity is None else self.maturity

    @property
    def kafka_ssl(self) -> bool:
        """Whether the connection to Kafka is encrypted."""
        return self.kafka_security_protocol.endswith("SSL")

    def without_effect(self) -> list[str]:
        """A line for each setting that has no effect beside the others."""
        idle = {
            "PROCESSOR_OUTCOMES=on has no effect without an archive: set PROCESSOR_ARCHIVE to "
            "http(s)://elasticsearch:9200": self.outcomes and not self.has_archive,
            "PROCESSOR_REQUEST_LOGGER=on has no effect without Elasticsearch: set PROCESSOR_ARCHIVE to "
            "http(s)://elasticsearch:9200": self.request_logger and not self.elasticsearch,
            "PROCESSOR_ARCHIVE=sqlite: has no effect with PROCESSOR_BROKER: use "
            "http(s)://elasticsearch:9200 or none": not self.embedded
            and self.archive.startswith("sqlite:"),
            "PROCESSOR_SNAPSHOTS has no effect without PROCESSOR_BROKER: set PROCESSOR_BROKER, or leave "
            "it out": self.embedded and bool(self.snapshots),
        }
        return [line for line, is_idle in idle.items() if is_idle]

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """The settings from the variables ``PROCESSOR_*`` of ``env``, by default the environment of
        the process. `SettingsError` names the variable, its value and the remedy."""
        env = os.environ if env is None else env
        given: dict[str, Any] = {}
        known = set()
        for item in fields(cls):
            name = f"PROCESSOR_{item.name.upper()}"
            known.add(name)
            text = env.get(name)
            if item.metadata["secret"]:
                known.add(f"{name}_FILE")
                text = _read_secret(env, name, text)
            if text is None:
                continue
            shown = "***" if item.metadata["secret"] else without_credentials(text)
            try:
                given[item.name] = item.metadata["parse"](text.strip())
            except ValueError as error:
                raise SettingsError(
                    f"{name}={shown!r} is not valid: {without_credentials(str(error))}"
                ) from None
        for name in env:
            # Otherwise a misspelt setting would be ignored silently.
            if name.startswith("PROCESSOR_") and name not in known | _FOREIGN:
                raise SettingsError(f"{name} is not a setting of the processor: see 'run --help'")
        settings = cls(**given)
        _check_together(settings)
        return settings


#: The default of PROCESSOR_MAX_MEMORY in the embedded mode: some 3 million requests.
_EMBEDDED_MEMORY = 256 << 20

#: Variables with the same prefix that are not settings but options of the tests.
_FOREIGN = frozenset(
    {"PROCESSOR_TEST_KAFKA", "PROCESSOR_TEST_CACHE", "PROCESSOR_TEST_ELASTICSEARCH"}
)


def _read_secret(env: Mapping[str, str], name: str, text: str | None) -> str | None:
    path = env.get(f"{name}_FILE")
    if not path:
        return text
    if text:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE={path!r} can't be read: {error}") from None


def _check_together(settings: Settings) -> None:
    if settings.kafka_security_protocol.startswith("SASL") and not settings.kafka_sasl_user:
        raise SettingsError("PROCESSOR_KAFKA_SASL_USER is empty: a SASL protocol needs a user")
    protocol = settings.kafka_security_protocol
    if settings.kafka_sasl_user and not protocol.startswith("SASL"):
        raise SettingsError(
            f"PROCESSOR_KAFKA_SASL_USER does nothing with PROCESSOR_KAFKA_SECURITY_PROTOCOL="
            f"{protocol}: use SASL_SSL or SASL_PLAINTEXT"
        )
    if (settings.kafka_ca or settings.kafka_cert) and not settings.kafka_ssl:
        raise SettingsError(
            f"PROCESSOR_KAFKA_CA and _CERT do nothing with PROCESSOR_KAFKA_SECURITY_PROTOCOL="
            f"{protocol}: use SSL or SASL_SSL"
        )
    if bool(settings.kafka_cert) != bool(settings.kafka_key):
        raise SettingsError("PROCESSOR_KAFKA_CERT and PROCESSOR_KAFKA_KEY go together: set both")
    if bool(settings.ingress_cert) != bool(settings.ingress_key):
        raise SettingsError(
            "PROCESSOR_INGRESS_CERT and PROCESSOR_INGRESS_KEY go together: set both"
        )
    if settings.retention is not None and settings.retention < settings.horizon:
        raise SettingsError(
            f"PROCESSOR_RETENTION={settings.retention}s is shorter than PROCESSOR_HORIZON="
            f"{settings.horizon}s: make it as long at least, since feedback may come so late"
        )
    if bool(settings.metrics_cert) != bool(settings.metrics_key):
        raise SettingsError(
            "PROCESSOR_METRICS_CERT and PROCESSOR_METRICS_KEY go together: set both"
        )
    if settings.metrics_ca and not settings.metrics_cert:
        raise SettingsError(
            "PROCESSOR_METRICS_CA checks the certificates of other workers, which needs TLS: set "
            "PROCESSOR_METRICS_CERT and PROCESSOR_METRICS_KEY too"
        )
    unknown = [w.name for w in settings.cell_windows if w not in settings.windows]
    if unknown and settings.cell_windows != (parse_window("all"),):
        raise SettingsError(
            f"PROCESSOR_CELL_WINDOWS names {', '.join(unknown)}, "
            "which PROCESSOR_WINDOWS does not: name windows from there"
        )
