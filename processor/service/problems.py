"""The problems around a worker: each with its remedy and the time since when, and one line in the log
when it begins, changes or ends."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from processor.domain.timestamps import SECOND, format_time
from processor.publish.interfaces import Problem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem as a part of the service sees it now.

    ``grace``: seconds that it may last before the worker is not ready; None if it stays ready.
    """

    cause: str
    what: str
    remedy: str
    grace: float | None = None


#: Returns the troubles of a part, as of now.
Source = Callable[[], Iterable[Trouble]]


@dataclass(slots=True)
class _Open:
    trouble: Trouble
    since: float


class Problems:
    """The open problems, one for each cause: of several troubles of a cause the first one counts.

    ``source`` returns all troubles as of now; ``clock`` gives seconds since 1970.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self._open: dict[str, _Open] = {}

    def refresh(self) -> None:
        """Ask for the troubles, and log what has changed."""
        now = self._clock()
        found: dict[str, Trouble] = {}
        for trouble in self._source():
            found.setdefault(trouble.cause, trouble)
        for cause in self._open.keys() - found.keys():
            ended = self._open.pop(cause)
            logger.info("solved after %.0f s: %s", now - ended.since, ended.trouble.what)
        for cause, trouble in found.items():
            known = self._open.get(cause)
            if known is None or known.trouble.what != trouble.what:
                logger.warning("%s: %s", trouble.what, trouble.remedy)
            self._open[cause] = _Open(trouble, now if known is None else known.since)

    def all(self) -> tuple[Problem, ...]:
        """The open problems, those first that make the worker unready, as of the last `refresh`."""
        ordered = sorted(
            self._open.values(), key=lambda one: (one.trouble.grace is None, one.since)
        )
        return tuple(
            Problem(
                one.trouble.cause,
                one.trouble.what,
                format_time(round(one.since * SECOND)),
                one.trouble.remedy,
                one.trouble.grace is not None,
            )
            for one in ordered
        )

    def blocking(self) -> Sequence[str]:
        """The problems that have lasted too long for a worker that is ready."""
        now = self._clock()
        return [
            one.trouble.what
            for one in self._open.values()
            if one.trouble.grace is not None and now - one.since >= one.trouble.grace
        ]
