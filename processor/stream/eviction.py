"""The limit on the join's memory: when it is reached, the oldest hour of requests is evicted early.

An eviction is recorded on the log, in a heartbeat, so that the state stays a function of the log,
independent of the worker and its limit. The deltas of the evicted requests stay: an evicted request is
treated like an expired one.
"""

import logging
from collections.abc import Mapping

from processor.domain.timestamps import HOUR, format_time
from processor.kafka.clients import FAULTS
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.join_stage import JoinStage

logger = logging.getLogger(__name__)


class EvictionPolicy:
    """Chooses the requests to evict so that the join's state stays below ``max_bytes``.

    Each eviction is written to the control topic (``control``) before it is returned.
    """

    def __init__(self, max_bytes: int, control: ControlLog) -> None:
        self._max_bytes = max_bytes
        self._control = control
        self._full = False
        self._recorded: tuple[int, int] | None = None

    async def next_eviction(self, stages: Mapping[int, JoinStage]) -> tuple[int, int] | None:
        """Return the partition and log hour to evict up to, or None while memory is below the limit.

        The oldest hour goes first. The current hour is never evicted, however many requests it has.
        """
        approx_bytes = sum(stage.join.approx_bytes for stage in stages.values())
        if approx_bytes <= self._max_bytes:
            self._full = False
            return None
        evictable = [
            (oldest, number)
            for number, stage in stages.items()
            if (oldest := stage.join.oldest()) is not None
            and oldest < stage.join.state.log_time // HOUR
        ]
        if not evictable:
            if not self._full:
                logger.warning(
                    "the join's state takes %.1f MiB, PROCESSOR_MAX_MEMORY is %.1f MiB, and all "
                    "requests are of the running hour, which is not evicted: raise it, or add workers",
                    approx_bytes / (1 << 20),
                    self._max_bytes / (1 << 20),
                )
            self._full = True
            return None
        hour, number = min(evictable)
        before = hour + 1
        if self._recorded != (number, before):
            # Readers of the archive must know that older requests may have been counted and evicted.
            try:
                await self._control.write(ControlRecord("evicted", position=before * HOUR))
            except FAULTS as error:
                logger.warning("control topic: %s", error)
                return None
            logger.warning(
                "the join's state takes %.1f MiB, PROCESSOR_MAX_MEMORY is %.1f MiB: requests of "
                "partition %d from before %s leave early",
                approx_bytes / (1 << 20),
                self._max_bytes / (1 << 20),
                number,
                format_time(before * HOUR),
            )
            self._recorded = number, before
        return number, before
