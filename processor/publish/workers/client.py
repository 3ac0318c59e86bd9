"""Requests of a worker to the other workers of its app."""

import asyncio
import errno
import os
import ssl
from collections.abc import Mapping
from typing import Protocol

import aiohttp

from processor.publish.workers.address import WorkerAddress

#: Seconds until the headers of an answer, which a worker sends at once; and until its end, which takes
#: long where many models are computed.
HEADERS_DEADLINE, BODY_DEADLINE = 2.0, 15.0
#: The largest answer, in bytes.
MAX_ANSWER = 64 << 20


class SilentWorkerError(Exception):
    """A worker that gives no usable answer; the text says why."""


class Transport(Protocol):
    """Brings the answers of other workers."""

    async def get(self, address: WorkerAddress, path: str, query: Mapping[str, str]) -> bytes:
        """The answer of the worker at ``address``. `SilentWorkerError` if there is none."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class HttpTransport:
    """Asks workers over HTTP, with the token and the TLS context of the metrics port."""

    def __init__(
        self,
        token: str,
        tls: ssl.SSLContext | None,
        headers_deadline: float = HEADERS_DEADLINE,
        body_deadline: float = BODY_DEADLINE,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        # Uncompressed, so that the limit holds for what is held in memory.
        self._headers = {"Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._tls = tls
        self._headers_deadline, self._body_deadline = headers_deadline, body_deadline
        self._max_answer = max_answer
        self._session: aiohttp.ClientSession | None = None

    async def get(self, address: WorkerAddress, path: str, query: Mapping[str, str]) -> bytes:
        """See `Transport`."""
        if self._session is None:
            # Without proxies and cookies of the environment: the address is that of a worker.
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(None),
                auto_decompress=False,
            )
        try:
            async with asyncio.timeout(self._headers_deadline) as deadline:
                response = await self._session.get(
                    address.origin + path,
                    params=query,
                    allow_redirects=False,
                    ssl=True if self._tls is None else self._tls,
                )
                async with response:
                    deadline.reschedule(asyncio.get_running_loop().time() + self._body_deadline)
                    return await self._read(response)
        except TimeoutError:
            raise SilentWorkerError("it does not answer in time") from None
        except aiohttp.ClientConnectorCertificateError:
            raise SilentWorkerError(
                "its certificate is not trusted: check PROCESSOR_METRICS_CA, and that the "
                "certificate has the name of PROCESSOR_ADVERTISED_ADDRESS"
            ) from None
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            known = number in errno.errorcode
            text = os.strerror(number) if known and number else str(error.os_error)
            raise SilentWorkerError(f"no connection: {text[:100]}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SilentWorkerError(f"no answer: {error or type(error).__name__}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status == 401:
            raise SilentWorkerError("it refuses the token: check PROCESSOR_METRICS_TOKEN")
        if response.status != 200:
            raise SilentWorkerError(
                f"it answers {response.status}: its release or its settings are others"
            )
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > self._max_answer:
                raise SilentWorkerError(f"its answer is over {self._max_answer >> 20} MiB")
        return bytes(body)

    async def close(self) -> None:
        """See `Transport`."""
        if self._session is not None:
            await self._session.close()
