"""The cap on the memory of the join: when it is reached, the oldest hour of requests leaves early.

What leaves is said on the log, in a tick: the state stays a function of the log, whoever folds it
and whatever cap that worker has. Deltas that went out stay: what has left is as if it had expired.
"""

import logging
from collections.abc import Mapping

from processor.domain.timestamps import HOUR, format_time
from processor.kafka.clients import FAULTS
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.join_stage import JoinStage

logger = logging.getLogger(__name__)


class EvictionPolicy:
    """Chooses what is to leave so that ``most`` bytes are enough; ``control`` is told before."""

    def __init__(self, most: int, control: ControlLog) -> None:
        self._most = most
        self._control = control
        self._full = False
        self._told: tuple[int, int] | None = None

    async def next_eviction(self, stages: Mapping[int, JoinStage]) -> tuple[int, int] | None:
        """Of which partition requests born before which log hour are to leave, None if of none: the
        oldest hour there is. The running hour stays, however many requests it has."""
        approx_bytes = sum(stage.join.approx_bytes for stage in stages.values())
        if approx_bytes <= self._most:
            self._full = False
            return None
        found = [
            (oldest, number)
            for number, stage in stages.items()
            if (oldest := stage.join.oldest()) is not None
            and oldest < stage.join.state.log_time // HOUR
        ]
        if not found:
            if not self._full:
                logger.warning(
                    "the join's state takes %.1f MiB, PROCESSOR_MAX_MEMORY is %.1f MiB, and all of it "
                    "is of the running hour, which stays: raise it, or add workers",
                    approx_bytes / (1 << 20),
                    self._most / (1 << 20),
                )
            self._full = True
            return None
        hour, number = min(found)
        before = hour + 1
        if self._told != (number, before):
            # Whoever reads the archive must know that what is older may have been counted and left.
            try:
                await self._control.write(ControlRecord("evicted", position=before * HOUR))
            except FAULTS as error:
                logger.warning("control topic: %s", error)
                return None
            logger.warning(
                "the join's state takes %.1f MiB, PROCESSOR_MAX_MEMORY is %.1f MiB: requests of "
                "partition %d from before %s leave early",
                approx_bytes / (1 << 20),
                self._most / (1 << 20),
                number,
                format_time(before * HOUR),
            )
            self._told = number, before
        return number, before
