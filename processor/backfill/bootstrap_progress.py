"""How far reading the archive is: for the log, for people who ask."""

import logging
import time

logger = logging.getLogger(__name__)

#: Seconds between lines of progress.
_SAY_EVERY = 10.0


class BootstrapProgress:
    """Of one pass after the other."""

    def __init__(self) -> None:
        self.read = 0
        """Documents, of all passes."""
        self.total: int | None = None
        """Of this pass, about; None before the first and between passes."""
        self._name = ""
        self._before = 0
        self._start = self._said = time.monotonic()

    def begin(self, name: str, total: int) -> None:
        """A pass begins."""
        self._name, self.total, self._before = name, total, self.read
        self._start = self._said = time.monotonic()

    def end(self) -> None:
        """It is over."""
        self.total = None

    @property
    def rate(self) -> float:
        """Documents a second in this pass."""
        took = time.monotonic() - self._start
        return (self.read - self._before) / took if self.total is not None and took > 0 else 0.0

    @property
    def left(self) -> int:
        """Documents that this pass has still to read, about."""
        return 0 if self.total is None else max(0, self.total - (self.read - self._before))

    @property
    def seconds_left(self) -> float | None:
        """None while it can't be told."""
        return self.left / self.rate if self.rate else None

    def add(self, documents: int) -> None:
        """Some more were read; a line of progress now and then."""
        self.read += documents
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY:
            self._said = now
            logger.info(
                "%s: %d of about %d documents, %.0f/s, %.0f s left",
                self._name,
                self.read - self._before,
                self.total or 0,
                self.rate,
                self.seconds_left or 0.0,
            )
