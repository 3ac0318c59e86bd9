"""The source topics: other programs create them, perhaps after this one has started, and may delete
them again. And whether the broker answers at all."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from processor.errors import BrokerError
from processor.kafka.clients import FAULTS, Kafka
from processor.kafka.reading import explain
from processor.kafka.topic_names import is_pattern, matching, source_candidates
from processor.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between two checks, and the seconds that one may take.
EVERY, PATIENCE = 1.5, 3.0
#: Seconds between checks where a pattern asks for the names of all topics.
PATTERN_EVERY = 3.0
#: Seconds that finding out why a connection fails may take.
_EXPLAIN_WITHIN = 0.5

#: Topics by name, each with the error code of the broker's answer.
Found = Mapping[str, int]


class TopicLister(Protocol):
    """Asks a broker for topics."""

    async def ask(self, names: list[str] | None) -> Found:
        """The given topics, or all that there are. Creates none. Raises one of `FAULTS`."""
        ...

    async def close(self) -> None:
        """Close the connections; `ask` opens them again."""
        ...


def source_group(settings: Settings) -> str:
    """The name of the consumer group that reads the source topics."""
    return f"{settings.app_id}-source"


def request_logger_group(settings: Settings) -> str:
    """The name of the consumer group that reads them in the role of the request logger."""
    return f"{settings.app_id}-request-logger"


class SourceTopics:
    """Watches which topics the entries of PROCESSOR_TOPICS mean, and whether the broker answers.

    A client must not ask for a topic before this class has found it: with
    ``auto.create.topics.enable`` the request would create the topic.
    """

    def __init__(
        self, kafka: Kafka, entries: tuple[str, ...], lister: TopicLister | None = None
    ) -> None:
        self.existing: tuple[str, ...] = ()
        """The topics to read, sorted."""
        self.missing: tuple[str, ...] = ()
        """The entries for which no topic was found at the last check."""
        self.forbidden: tuple[str, ...] = ()
        """The topics among them that this user may not see."""
        self.checked = False
        """Whether the broker has answered at least once."""
        self.broker_error: BrokerError | None = None
        """Why the broker doesn't answer; None if it does, or was not asked yet."""
        self._kafka = kafka
        self._entries = entries
        self._lister = lister or _Client(kafka)
        self._answered: list[asyncio.Future[None]] = []

    @property
    def was_asked(self) -> bool:
        """Whether the broker was asked at least once."""
        return self.checked or self.broker_error is not None

    async def run(self) -> None:
        """Check until cancelled."""
        pause = PATTERN_EVERY if any(map(is_pattern, self._entries)) else EVERY
        try:
            while True:
                await self.check()
                await asyncio.sleep(EVERY if self.broker_error else pause)
        finally:
            await self._lister.close()

    async def check(self) -> None:
        """Ask the broker once."""
        patterns = any(map(is_pattern, self._entries))
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._lister.ask(None if patterns else list(self._entries))
                if patterns and (absent := [one for one in self._entries if one not in found]):
                    # A list of all topics leaves out those that this user may not see.
                    names = [one for one in absent if not is_pattern(one)]
                    found = {**(await self._lister.ask(names) if names else {}), **found}
        except FAULTS as error:
            await self._lister.close()
            self.broker_error = await self._explain(error)
            return
        self.broker_error = None
        self._note(found)

    def _note(self, found: Found) -> None:
        usable = [name for name, code in found.items() if code not in _ABSENT]
        candidates = source_candidates(usable)
        existing: set[str] = set()
        missing = []
        for entry in self._entries:
            names = matching(entry, candidates if is_pattern(entry) else usable)
            existing.update(names)
            if not names:
                missing.append(entry)
        self.existing = tuple(sorted(existing))
        self.missing = tuple(missing)
        self.forbidden = tuple(one for one in missing if found.get(one) == _FORBIDDEN)
        self.checked = True
        waiting, self._answered = self._answered, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> tuple[str, ...]:
        """Wait until at least one topic exists, and return the topics that exist."""
        while not (self.checked and self.existing):
            answered = asyncio.get_running_loop().create_future()
            self._answered.append(answered)
            await answered
        return self.existing

    def have_changed(self, topics: tuple[str, ...]) -> bool:
        """Whether other topics exist than the given ones."""
        return self.checked and self.existing != topics

    async def _explain(self, error: BaseException) -> BrokerError:
        servers = self._kafka.servers
        if isinstance(error, TimeoutError) and not isinstance(error, KafkaError):
            return BrokerError(
                f"Kafka at {', '.join(servers)} gives no answer in {PATIENCE:g} s",
                "check PROCESSOR_BROKER, the network and the brokers' load",
            )
        try:
            async with asyncio.timeout(_EXPLAIN_WITHIN):
                return await self._kafka.explain(error)
        except TimeoutError:
            return explain(error, servers)


#: The codes of topics that do not exist, or that this user may not see.
_FORBIDDEN = TopicAuthorizationFailedError.errno
_ABSENT = (UnknownTopicOrPartitionError.errno, _FORBIDDEN)


class _Client:
    """A `TopicLister` with a client that stays connected."""

    def __init__(self, kafka: Kafka) -> None:
        self._make: Callable[[], AIOKafkaClient] = kafka.client
        self._client: AIOKafkaClient | None = None

    async def ask(self, names: list[str] | None) -> Found:
        client = self._client
        if client is not None:
            try:
                return await _ask(client, names)
            except FAULTS:
                await self.close()
        # All servers of the settings are tried: the known nodes may have gone, one after the other.
        client = self._client = self._make()
        await client.bootstrap()
        return await _ask(client, names)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def _ask(client: AIOKafkaClient, names: list[str] | None) -> Found:
    """Ask any node that answers."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    request = MetadataRequest(names, allow_auto_topic_creation=False)
    for last, node in enumerate(nodes, 1 - len(nodes)):
        try:
            answer: Any = await client.send(node, request)
            return {one["topic"]: one["error_code"] for one in answer.to_object()["topics"]}
        except FAULTS:
            if not last:
                raise
    raise KafkaError("no broker is known")
