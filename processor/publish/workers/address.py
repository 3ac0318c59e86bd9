"""The address by which a worker announces itself to the other workers of its app."""

import re
import secrets
import socket
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

#: Characters of a worker's id that are safe in a URL, a log line and a page.
_ID = re.compile(r"[A-Za-z0-9._-]{1,120}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")


class WorkerAddress(NamedTuple):
    """The metrics port of a worker, and the worker's id, which no other process has."""

    id: str
    host: str
    port: int
    scheme: str = "http"

    @property
    def location(self) -> str:
        """Host and port, with an IPv6 address in brackets.

        >>> WorkerAddress("w", "fd00::1", 9102).location
        '[fd00::1]:9102'
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL of the metrics port, without a path."""
        return f"{self.scheme}://{self.location}"

    @property
    def url(self) -> str:
        """The text that is announced: the URL of the metrics port, with the id as its path.

        >>> WorkerAddress("pod-0-5d1f", "10.0.0.7", 9102).url
        'http://10.0.0.7:9102/pod-0-5d1f'
        """
        return f"{self.origin}/{self.id}"


def parse_worker_url(url: str) -> WorkerAddress | None:
    """Read an announced URL; None if it is not one, such as that of an older release.

    >>> parse_worker_url("http://10.0.0.7:9102/pod-0-5d1f")
    WorkerAddress(id='pod-0-5d1f', host='10.0.0.7', port=9102, scheme='http')
    >>> parse_worker_url("http://pod-0:6066") is None
    True
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    name = parts.path.removeprefix("/")
    if parts.scheme not in ("http", "https") or not host or not port or parts.username:
        return None
    if not _ID.fullmatch(name) or not _HOST.fullmatch(host) or parts.query or parts.fragment:
        return None
    return WorkerAddress(name, host, port, parts.scheme)


def own_address(
    advertised: tuple[str, int | None] | None, port: int, scheme: str, servers: tuple[str, ...]
) -> WorkerAddress:
    """The address of this process. ``advertised`` is the host, and perhaps the port, of
    PROCESSOR_ADVERTISED_ADDRESS; ``port`` is the one that is open. Without a host it is the
    address from which this machine reaches the first of the Kafka ``servers``."""
    host, given_port = advertised or (_local_address(servers), None)
    # Two processes of one machine, or the one before a restart, must not have the same id.
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100] or "worker"
    return WorkerAddress(f"{name}-{secrets.token_hex(3)}", host, given_port or port, scheme)


def _local_address(servers: tuple[str, ...]) -> str:
    for server in servers:
        host, _, port = server.rpartition(":")
        with suppress(OSError, ValueError):
            for family, *_, address in socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_DGRAM
            ):
                with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                    # Sends nothing: it only chooses the route.
                    probe.connect(address)
                    return str(probe.getsockname()[0])
    return "127.0.0.1"
