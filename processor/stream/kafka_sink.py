"""The sink of HTTP events that writes to the log: an event is accepted once it is acknowledged."""

import asyncio
from collections.abc import Sequence

from processor.domain.events.dead_letters import SourceOffset
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import BrokerError
from processor.kafka.clients import FAULTS, explain
from processor.stream.observation_producer import ObservationProducer

_SOURCE: SourceOffset = ("http", 0, 0)
#: Events that are sent together: with more, the first of them would wait for the last.
_GROUP = 2000
#: Seconds without an acknowledgement after which new events are refused at once: they would wait
#: even longer than the events before them.
_STUCK = 5.0

_Verdicts = list[DeadLetter | None]


class KafkaSink:
    """Puts events on the log; see `processor.ingress`'s ``EventSink``.

    Events that arrive while others are being sent are sent together afterwards: each record has a
    fixed cost at every hop.
    """

    def __init__(self, observation_producer: ObservationProducer, servers: tuple[str, ...]) -> None:
        self._observation_producer = observation_producer
        self._servers = servers
        self._waiting: dict[asyncio.Future[_Verdicts], Sequence[RawEvent]] = {}
        self._sending: asyncio.Task[None] | None = None
        self._sent_at = 0.0

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Decode the events, send them, and wait for the acknowledgement.

        Returns a dead letter or None for each event. `BrokerError` if the broker acknowledges nothing.
        If the caller is cancelled before its events are sent, they are not sent.
        """
        loop = asyncio.get_running_loop()
        if self._sending is None:
            self._sent_at = loop.time()
            self._sending = asyncio.create_task(self._send())
        elif loop.time() - self._sent_at > _STUCK:
            raise BrokerError(
                f"Kafka at {', '.join(self._servers)} has acknowledged nothing for {_STUCK:g} s"
            )
        result: asyncio.Future[_Verdicts] = loop.create_future()
        self._waiting[result] = events
        try:
            return await result
        finally:
            self._waiting.pop(result, None)

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while self._waiting:
                self._sent_at = clock()
                await self._send_group()
        finally:
            self._sending = None

    async def _send_group(self) -> None:
        group: dict[asyncio.Future[_Verdicts], _Verdicts] = {}
        size = 0
        while self._waiting and size < _GROUP:
            result = next(iter(self._waiting))
            events = self._waiting.pop(result)
            add = self._observation_producer.add
            group[result] = [add(event, _SOURCE).dead_letter for event in events]
            size += len(events)
        try:
            await asyncio.gather(*await self._observation_producer.send())
        except FAULTS as error:
            _resolve(group, explain(error, self._servers))
        except Exception as error:
            _resolve(group, error)
        else:
            _resolve(group, None)


def _resolve(group: dict[asyncio.Future[_Verdicts], _Verdicts], error: Exception | None) -> None:
    for result, verdicts in group.items():
        if result.done():  # the caller was cancelled
            continue
        if error is None:
            result.set_result(verdicts)
        else:
            result.set_exception(error)
