"""Log lines: text for people, JSON for machines; libraries only when they have something to say."""

import logging
import sys

import msgspec
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

_NOISY = (
    *("aiokafka", "faust", "mode", "elastic_transport", "aiohttp", "asyncio"),
    # Classes of Faust with a method mended: they log under the name of our module.
    "processor.kafka.transport",
)
_CLIENT_FAULTS = (HttpProcessingError, RequestPayloadError)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


class _Malformed(logging.Filter):
    """Requests that are no HTTP get a line without their bytes, which may be a secret: aiohttp would
    write the line of a header that is wrong, and a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _CLIENT_FAULTS):
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
            record.msg = "a request that is no HTTP, refused with 400: from %s"
            record.args = (remote if isinstance(remote, str) else "unknown",)
            record.exc_info = None
        return True


class _OncePerWhile(logging.Filter):
    """Lets a library's message through once in ``seconds``: a client without its broker writes the
    same line many times a second."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_NOISY):
            return True
        message = record.name, str(record.msg)
        if record.created < self._next.get(message, 0.0):
            return False
        self._next[message] = record.created + self._seconds
        return True


def set_up_logs(level: str, style: str, libraries: str = "ERROR") -> None:
    """Log to stderr. ``style`` is text or json, ``libraries`` the level of other packages' lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    handler.addFilter(_Malformed())
    handler.addFilter(_OncePerWhile())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else libraries)
