"""Send requests to Elasticsearch: credentials, retries while the server is away, clear errors."""

import logging
import os
import ssl
import time
import warnings
from collections.abc import Awaitable, Callable
from socket import gaierror
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from elastic_transport import (
    ApiError,
    ConnectionTimeout,
    JsonSerializer,
    TlsError,
    TransportError,
)
from elastic_transport import ConnectionError as NoConnectionError
from elasticsearch import AsyncElasticsearch, ElasticsearchWarning, UnsupportedProductError

from processor.backoff import Backoff
from processor.errors import ArchiveError, SettingsError
from processor.settings import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Seconds that one request may take.
TIMEOUT = 60.0
#: Seconds between two attempts: the first pause, and the longest.
_PAUSE, _MAX_PAUSE = 0.1, 15.0
#: Statuses of a server that is busy or starting, or of a proxy in front of one.
_BUSY = frozenset((408, 429, 502, 503, 504))
#: How often status 500 is tried again: mostly it passes, but a document can also be its cause.
_MAX_FAULTS = 5
_PRIVILEGES = "read, view_index_metadata, monitor and maintenance"


class NotReadyError(Exception):
    """An incomplete answer, because parts of the cluster are missing. The request is tried again."""


class _Bytes(JsonSerializer):
    """Leaves responses undecoded: each caller parses the fields that it needs, once."""

    def loads(self, data: bytes) -> bytes:
        return data


class ElasticsearchHttp:
    """A connection that repeats requests after failures that pass: connection loss, timeouts, 429,
    503. ``patience`` is for how many seconds, None for ever. Errors name ``subject``, the index
    pattern, and ``privileges``, those that the user needs on it.
    """

    def __init__(
        self,
        url: str,
        subject: str,
        settings: Settings,
        patience: float | None,
        privileges: str = _PRIVILEGES,
    ) -> None:
        self._subject = subject
        self._privileges = privileges
        self._patience = patience
        self.address, options = _options(url, settings)
        raw = _Bytes()
        # A server without security says so in every response, and Python would print it.
        warnings.simplefilter("ignore", ElasticsearchWarning)
        try:
            self._client = AsyncElasticsearch(
                **options,
                serializers={"application/json": raw, "text/*": raw},
                max_retries=0,
                request_timeout=TIMEOUT,
                retry_on_timeout=False,
            )
        except (ValueError, OSError, ssl.SSLError) as error:
            raise SettingsError(f"Elasticsearch at {self.address} can't be used: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def call(
        self,
        task: str,
        request: Callable[[AsyncElasticsearch], Awaitable[T]],
        on_retry: Callable[[], None] = lambda: None,
        once: bool = False,
        within: float = TIMEOUT,
    ) -> T:
        """The result of ``request``, which is repeated after failures that pass, but not with
        ``once``. ``on_retry`` is called before a request that was too much for the server is
        repeated. ``within`` is for how many seconds one request may take. `ArchiveError` says why
        ``task``, such as "writing results", failed."""
        client = self._client.options(request_timeout=within)
        patience = 0.0 if once else self._patience
        start = time.monotonic()
        backoff, faults = Backoff(_PAUSE, _MAX_PAUSE), 0
        while True:
            try:
                return await request(client)
            except (TransportError, ApiError, NotReadyError) as error:
                status = error.meta.status if isinstance(error, ApiError) else 0
                faults += status == 500
                if not _passes(error, status) or faults >= _MAX_FAULTS:
                    raise self._explain(error, status, task, within) from None
                now = time.monotonic()
                if patience is not None and now + backoff.delay - start > patience:
                    raise self._explain(error, status, task, within) from None
                log.debug("%s; trying again", self._explain(error, status, task, within))
                if status == 429 or isinstance(error, ConnectionTimeout):
                    on_retry()
            await backoff.sleep()

    def _explain(
        self, error: Exception, status: int, task: str, timeout: float = TIMEOUT
    ) -> ArchiveError:
        server = f"Elasticsearch at {self.address}"
        if isinstance(error, UnsupportedProductError):
            what = _foreign(self.address, reply(error.body))
            return ArchiveError(what, reason="version")
        if isinstance(error, NotReadyError):
            return ArchiveError(
                f"{server} is not ready: {error}", "check the health of its cluster", "not_ready"
            )
        if isinstance(error, TlsError):
            return ArchiveError(
                f"the certificate of {server} is not trusted ({_line(error)})",
                "set PROCESSOR_ES_CA to its authority's PEM file, and use a host name that the "
                "certificate has",
                "certificate",
            )
        if isinstance(error, ConnectionTimeout):
            return ArchiveError(
                f"{server} gives no answer in {timeout:g} s while {task}",
                "check its load and the network; it is tried again",
                "away",
            )
        if isinstance(error, NoConnectionError):
            return ArchiveError(
                f"{server} can't be reached ({_line(error)})",
                "check the address (http or https?) and that the server runs",
                "away",
            )
        if status == 401:
            return ArchiveError(
                f"{server} refuses the credentials (401)",
                "set PROCESSOR_ES_USER and PROCESSOR_ES_PASSWORD, or PROCESSOR_ES_API_KEY",
                "credentials",
            )
        if status == 403:
            return ArchiveError(
                f"{server} does not allow {task} (403)",
                f"the user needs the privileges {self._privileges} on {self._subject!r}",
                "rights",
            )
        if status == 404:
            return no_index(self.address, self._subject)
        if status in (406, 415):
            return ArchiveError(
                f"{server} does not understand this client ({status})",
                "use version 7.17 or newer",
                "version",
            )
        reason = reason_of(error.body) if isinstance(error, ApiError) else _line(error)
        code = f" ({status})" if status else ""
        what = f"{server} fails while {task}{code}: {reason or 'no reason given'}"
        return ArchiveError(what, reason="busy" if status in _BUSY else "other")


def no_index(address: str, pattern: str) -> ArchiveError:
    """The error of an index pattern that matches no index."""
    return ArchiveError(
        f"Elasticsearch at {address} has no index {pattern!r}",
        "set PROCESSOR_INDEX (or --index) to the request logger's indices, such as inference-log-*",
        "no_index",
    )


def reply(body: object) -> dict[str, Any]:
    """A response as parsed JSON; empty if it is not a JSON object."""
    try:
        content = msgspec.json.decode(body if isinstance(body, bytes) else b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def reason_of(body: object) -> str:
    """The reason in the body of an Elasticsearch error, in one line of at most 300 characters."""
    error = reply(body).get("error")
    if isinstance(error, dict):
        causes = error.get("root_cause")
        cause = causes[0] if isinstance(causes, list) and causes else error
        error = cause.get("reason") if isinstance(cause, dict) else None
    return " ".join(str(error or "").split())[:300]


def _passes(error: Exception, status: int) -> bool:
    """Whether the error may pass, so that waiting helps."""
    if isinstance(error, TlsError):
        return False
    if isinstance(error, ApiError):
        return status in _BUSY or status == 500
    return isinstance(error, ConnectionTimeout | NoConnectionError | NotReadyError)


def _foreign(address: str, content: dict[str, Any]) -> str:
    """The message about a server that does not name itself as Elasticsearch: one before 7.14, or
    another product."""
    version = content.get("version")
    number = str(version.get("number", "")) if isinstance(version, dict) else ""
    kind = str(version.get("distribution", "")) if isinstance(version, dict) else ""
    if kind or not number:
        return f"{address} is not Elasticsearch but {kind or 'another server'}: check the address"
    return too_old(address, number)


def too_old(address: str, number: str) -> str:
    """The message about a server of an unsupported version."""
    return f"Elasticsearch at {address} is version {number[:20]}: use version 7.17 or newer"


def _line(error: Exception) -> str:
    # aiohttp's own text has the address as a Python tuple.
    reason = getattr(error.__context__, "os_error", None)
    if isinstance(reason, OSError) and reason.errno and not isinstance(error, TlsError):
        known = reason.strerror if isinstance(reason, gaierror) else os.strerror(reason.errno)
        return str(known).lower()
    message = error.message if isinstance(error, TransportError | ApiError) else error
    return " ".join(str(message).split())[:200]


def _options(url: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """The address without credentials, for messages, and the options of the client."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 9200
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        # The address itself is not shown: it can contain a password.
        raise SettingsError("the address of Elasticsearch is not http(s)://host:port: correct it")
    shown = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{shown}:{port}{parts.path.rstrip('/')}"
    options: dict[str, Any] = {"hosts": [address]}
    user, password = settings.es_user, str(settings.es_password)
    if settings.es_api_key and user:
        raise SettingsError("PROCESSOR_ES_API_KEY and PROCESSOR_ES_USER are both set: keep one")
    if parts.username:
        options["basic_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    elif settings.es_api_key:
        options["api_key"] = str(settings.es_api_key)
    elif user:
        options["basic_auth"] = (user, password)
    elif password:
        raise SettingsError("PROCESSOR_ES_PASSWORD is set without PROCESSOR_ES_USER: set both")
    if settings.es_ca and parts.scheme == "https":
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=str(settings.es_ca))
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"PROCESSOR_ES_CA={str(settings.es_ca)!r} can't be read as PEM: {error}"
            ) from None
    return address, options
