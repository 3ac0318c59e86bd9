"""The progress of reading the archive, for log lines and for the status page."""

import logging
import time

logger = logging.getLogger(__name__)

#: Seconds between log lines.
_LOG_EVERY = 10.0


class BootstrapProgress:
    """The progress of one pass over the archive after the other."""

    def __init__(self) -> None:
        self.read = 0
        """Documents that all passes have read."""
        self.total: int | None = None
        """About how many documents this pass reads; None between passes."""
        self._name = ""
        self._read_before = 0
        self._started = self._logged = time.monotonic()

    def begin(self, name: str, total: int) -> None:
        """Begin a pass over about ``total`` documents."""
        self._name, self.total, self._read_before = name, total, self.read
        self._started = self._logged = time.monotonic()

    def end(self) -> None:
        """End the pass."""
        self.total = None

    @property
    def rate(self) -> float:
        """Documents per second in this pass; 0 between passes."""
        took = time.monotonic() - self._started
        return (
            (self.read - self._read_before) / took if self.total is not None and took > 0 else 0.0
        )

    @property
    def remaining(self) -> int:
        """About how many documents this pass still has to read."""
        return 0 if self.total is None else max(0, self.total - (self.read - self._read_before))

    @property
    def remaining_seconds(self) -> float | None:
        """About how many seconds this pass still takes; None while this is unknown."""
        return self.remaining / self.rate if self.rate else None

    def add(self, documents: int) -> None:
        """Note that some more documents were read; logs a line every 10 s."""
        self.read += documents
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY:
            self._logged = now
            logger.info(
                "%s: %d of about %d documents, %.0f/s, %.0f s left",
                self._name,
                self.read - self._read_before,
                self.total or 0,
                self.rate,
                self.remaining_seconds or 0.0,
            )
