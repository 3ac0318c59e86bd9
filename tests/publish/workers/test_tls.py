"""Workers that ask one another over HTTPS, with a token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from processor.publish.site import make_site
from processor.publish.workers.access import metrics_tls
from processor.publish.workers.address import WorkerAddress
from processor.publish.workers.client import HttpTransport, SilentWorkerError
from processor.settings import Settings
from tests.publish.served import Site
from tests.support.fakes import FakeCounts
from tests.support.servers.certificates import authority, signed


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a worker's certificate, and an authority that nobody trusts."""
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "ca")
    authority(folder, "stranger")
    signed(folder, "worker", "subjectAltName=IP:127.0.0.1")
    return folder


def settings_of(pki: Path, ca: str = "ca", token: str = "s3cret") -> Settings:
    return Settings.from_env(
        {
            "PROCESSOR_METRICS_CERT": str(pki / "worker.pem"),
            "PROCESSOR_METRICS_KEY": str(pki / "worker.key"),
            "PROCESSOR_METRICS_CA": str(pki / f"{ca}.pem"),
            "PROCESSOR_METRICS_TOKEN": token,
        }
    )


@asynccontextmanager
async def worker(pki: Path) -> AsyncIterator[int]:
    """A worker with a certificate and a token; its port."""
    settings = settings_of(pki)
    server = TestServer(make_site(Site(FakeCounts({}), settings=settings)), scheme="https")
    await server.start_server(ssl=metrics_tls(settings)[0])
    try:
        assert server.port
        yield server.port
    finally:
        await server.close()


async def ask(port: int, asking: Settings, host: str = "127.0.0.1") -> bytes | str:
    """The answer, or why there is none."""
    transport = HttpTransport(asking.metrics_token, metrics_tls(asking)[1])
    try:
        return await transport.get(WorkerAddress("w", host, port, "https"), "/api/worker", {})
    except SilentWorkerError as error:
        return str(error)
    finally:
        await transport.close()


async def test_whom_a_worker_trusts_and_who_may_ask(pki: Path) -> None:
    async with worker(pki) as port:
        answer = await ask(port, settings_of(pki))
        assert isinstance(answer, bytes)
        assert answer.startswith(b'{"worker":')
        untrusted = (
            "its certificate is not trusted: check PROCESSOR_METRICS_CA, and that the certificate "
            "has the name of PROCESSOR_ADVERTISED_ADDRESS"
        )
        assert await ask(port, settings_of(pki, ca="stranger")) == untrusted
        # The certificate has no such name.
        assert await ask(port, settings_of(pki), host="localhost") == untrusted
        refused = "it refuses the token: check PROCESSOR_METRICS_TOKEN"
        assert await ask(port, settings_of(pki, token="other")) == refused
        plain = HttpTransport("s3cret", None)
        with pytest.raises(SilentWorkerError, match=r"no answer|no connection"):
            await plain.get(WorkerAddress("w", "127.0.0.1", port), "/api/worker", {})
        await plain.close()
