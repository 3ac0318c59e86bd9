"""Set up logging: lines of text or JSON, and fewer lines of libraries."""

import logging
import sys

import msgspec

_NOISY = (
    *("aiokafka", "faust", "mode", "elastic_transport", "aiohttp", "asyncio"),
    # Classes of Faust with a method mended: they log under the name of our module.
    "processor.kafka.patches",
)


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


class _MalformedRequests(logging.Filter):
    """Replaces aiohttp's lines about malformed HTTP requests: they contain the request's bytes, which
    may be a secret, and a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and _is_client_fault(error):
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
            record.msg = "a malformed HTTP request, refused with 400: from %s"
            record.args = (remote if isinstance(remote, str) else "unknown",)
            record.exc_info = None
        return True


def _is_client_fault(error: BaseException) -> bool:
    # Commands without a server or client need not wait for its import.
    if "aiohttp" not in sys.modules:
        return False
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.web import RequestPayloadError

    return isinstance(error, HttpProcessingError | RequestPayloadError)


class _Reported(logging.Filter):
    """Drops what aiokafka logs of each try while a broker is away: the service itself says so once, in
    one line with the remedy."""

    _STARTS = (
        "Unable connect to",
        "Unable to update metadata",
        "Group Coordinator Request failed",
        "FindCoordinator Request failed",
        "Error sending %s to node",
        "Heartbeat send request failed",
        "Heartbeat session expired",
        "LeaveGroup request failed",
        "Failed fetch",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.name.startswith("aiokafka") and str(record.msg).startswith(self._STARTS))


class _RateLimit(logging.Filter):
    """Passes a library's message once in ``seconds``: a client without its broker logs the same line
    many times a second."""

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
    """Log to stderr at ``level``. ``style`` is "text" or "json"; ``libraries`` is the level of other
    packages, which log at ``level`` if that is DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    handler.addFilter(_MalformedRequests())
    handler.addFilter(_RateLimit())
    if level != "DEBUG":
        handler.addFilter(_Reported())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(level if level == "DEBUG" else libraries)
