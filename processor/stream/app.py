"""The Faust app: agents that hand records to the partition folds, and the table `confusion`."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from processor.errors import ProcessorError
from processor.kafka.clients import MAX_RECORD, heartbeat_seconds, ssl_context
from processor.kafka.patches import faust_transport, import_faust
from processor.kafka.topics import Topics
from processor.settings import Settings

logger = logging.getLogger(__name__)

faust, _ = import_faust()

#: Receives a record: partition, offset, append time (ns), value.
Deliver = Callable[[int, int, int, bytes], Awaitable[None]]


def make_app(settings: Settings, servers: tuple[str, ...], url: str = "") -> Any:
    """Make the Faust app. The topics exist already, so it declares none.

    ``url`` is what the app announces to the other members of its consumer group; Faust hands it on at
    each assignment, together with the partitions of each member.
    """
    session = settings.session_timeout
    app = faust.App(
        settings.app_id,
        broker=[f"kafka://{server}" for server in servers],
        broker_credentials=_credentials(settings),
        store="memory://",
        # The topics are created and checked before (see kafka/topics.py).
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        autodiscover=False,
        web_enabled=False,
        web_tables_enabled=False,
        **({"canonical_url": url} if url else {}),
        datadir=str(settings.data / "faust"),
        # Records that are delivered twice are skipped by their offset, so no transaction is needed.
        processing_guarantee="at_least_once",
        # A rebalance need not wait for the streams: a fold can be taken over at any moment.
        stream_wait_empty=False,
        stream_buffer_maxsize=64,
        stream_recovery_delay=0.0,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        # Records are micro-batches: a few of them are enough for one turn of the event loop.
        broker_max_poll_records=50,
        broker_commit_interval=2.0,
        broker_session_timeout=float(session),
        broker_rebalance_timeout=max(20.0, 2.0 * session),
        broker_heartbeat_interval=heartbeat_seconds(session),
        producer_acks=-1,
        producer_max_request_size=MAX_RECORD,
        producer_request_timeout=60.0,
    )
    app.transport = faust_transport(app)
    return app


def attach(app: Any, topics: Topics, partitions: int, join: Deliver, tally: Deliver) -> Any:
    """Define the agents of both logs and of the control topic on ``app``, and return its table."""
    table = app.Table(
        "confusion",
        partitions=partitions,
        key_type=bytes,
        value_type=bytes,
        help="checkpoint of the counts",
    )

    def topic(name: str, partitions: int = partitions) -> Any:
        return app.topic(
            name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=partitions,
        )

    async def run(stream: Any, deliver: Deliver) -> None:
        async for event in stream.events():
            message = event.message
            timestamp = round(message.timestamp * 1000) * 1_000_000
            try:
                await deliver(message.partition, message.offset, timestamp, message.value)
            except ProcessorError:
                # The process ends with its one line already; Faust would log a traceback.
                return

    async def join_agent(stream: Any) -> None:
        await run(stream, join)

    async def tally_agent(stream: Any) -> None:
        await run(stream, tally)

    async def control_agent(stream: Any) -> None:
        # Subscribes to the topic, so that one worker is assigned its partition: this is the leader.
        async for _ in stream.events():
            pass

    app.agent(topic(topics.observations), name="join")(join_agent)
    app.agent(topic(topics.deltas), name="tally")(tally_agent)
    app.agent(topic(topics.control, 1), name="control")(control_agent)
    return table


def members_of(app: Any, topic: str) -> dict[str, list[int]]:
    """The partitions of ``topic`` that each member of the app's group has, by the member's URL; as of
    the last assignment, and empty before the first."""
    distribution = app.assignor.external_topics_metadata()
    return {url: list(topics.get(topic, ())) for url, topics in distribution.items()}


def _credentials(settings: Settings) -> Any:
    if settings.kafka_security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.kafka_sasl_user,
            password=str(settings.kafka_sasl_password),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=ssl_context(settings) if settings.kafka_ssl else None,
        )
    if settings.kafka_ssl:
        return faust.SSLCredentials(context=ssl_context(settings))
    return None
