"""The ingress port with TLS and client certificates, as a user runs it."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from processor.errors import SettingsError
from processor.ingress.tls import ingress_tls
from processor.settings import Settings
from processor.tls import client_context
from tests.support.faults.cluster import Worker, until
from tests.support.reports.command import run_command
from tests.support.servers.certificates import authority, signed
from tests.support.workers import DATA, Get, Start, assert_equal, counted, expected, models

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server and a client, and a stranger's with a client of its own."""
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "ca")
    authority(folder, "stranger")
    signed(folder, "server", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    signed(folder, "client", "subjectAltName=DNS:client")
    signed(folder, "intruder", "subjectAltName=DNS:client", by="stranger")
    return folder


def files(pki: Path, name: str) -> dict[str, str]:
    return {
        "ingress_cert": str(pki / f"{name}.pem"),
        "ingress_key": str(pki / f"{name}.key"),
        "ingress_ca": str(pki / "ca.pem"),
    }


async def address(worker: Worker) -> str:
    await until(lambda: "events in: " in worker.text, 60, "started")
    return worker.text.partition("events in: ")[2].split()[0]


async def post(url: str, tls: ssl.SSLContext | bool = True) -> int:
    """The status of an empty batch."""
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
        session.post(url, data=b"[]", headers=headers, ssl=tls) as answer,
    ):
        return answer.status


async def processor(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    return await asyncio.to_thread(run_command, args, env)


async def test_only_callers_with_the_right_certificate_come_in(
    start: Start, get: Get, pki: Path
) -> None:
    """Nobody else, and a probe needs none: it goes to the metrics port."""
    worker = start(**files(pki, "server"))
    url = await address(worker)
    assert url.startswith("https://")
    ca = pki / "ca.pem"
    client = client_context("TEST", ca, pki / "client.pem", pki / "client.key")
    intruder = client_context("TEST", ca, pki / "intruder.pem", pki / "intruder.key")
    assert await post(url, client) == 202
    for wrong in (client_context("TEST", ca, None, None), intruder):
        # With TLS 1.3 the client hears of it after its handshake: as an alert, or not even that.
        with pytest.raises(aiohttp.ClientError):
            await post(url, wrong)
    with pytest.raises(aiohttp.ClientError):
        await post(url.replace("https", "http"))
    events = str(DATA / "events.ndjson")
    refused = await processor("send", events, "--to", url)
    assert refused.returncode == 1
    assert "PROCESSOR_INGRESS_CA" in refused.stderr
    sent = await processor("send", events, "--to", url, **files(pki, "client"))
    assert "263 of 263 accepted" in sent.stdout, sent.stderr
    await counted(get, worker, judged=63)
    (found,) = await models(get, worker)
    assert_equal(found, expected())
    for path in ("/health", "/ready", "/metrics"):
        assert (await get(worker, path))[0] == 200
    assert "Traceback" not in worker.text
    assert "Error" not in worker.text
    assert await worker.terminate() == 0


async def test_without_an_authority_every_caller_comes_in(start: Start, pki: Path) -> None:
    worker = start(**{**files(pki, "server"), "ingress_ca": ""})
    url = await address(worker)
    assert await post(url, client_context("TEST", pki / "ca.pem", None, None)) == 202
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await post(url, client_context("TEST", pki / "stranger.pem", None, None))
    assert await worker.terminate() == 0


WRONG = {
    "no file": ({"ingress_cert": "none.pem"}, "_CERT='{}/none.pem' can't be read: No such file"),
    "no key": ({"ingress_key": "none.key"}, "_KEY='{}/none.key' can't be read: No such file"),
    "no certificate": ({"ingress_cert": "server.key"}, "_CERT='{}/server.key' is not a PEM file"),
    "a key that is none": ({"ingress_key": "server.pem"}, "_KEY='{}/server.pem' is not a PEM file"),
    "another's key": ({"ingress_key": "client.key"}, "_KEY='{}/client.key' don't belong together"),
    "no authority": ({"ingress_ca": "server.key"}, "_CA='{}/server.key' is not a PEM file"),
    "authority alone": ({"ingress_cert": "", "ingress_key": ""}, "PROCESSOR_INGRESS_CERT and"),
    "no key at all": ({"ingress_key": ""}, "PROCESSOR_INGRESS_KEY go together"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_named(what: str, pki: Path) -> None:
    wrong, said = WRONG[what]
    settings = files(pki, "server") | {k: str(pki / v) if v else "" for k, v in wrong.items()}
    with pytest.raises(SettingsError) as raised:
        ingress_tls(
            Settings.from_env({f"PROCESSOR_{name.upper()}": v for name, v in settings.items()})
        )
    assert said.format(pki) in str(raised.value)


async def test_a_wrong_file_ends_the_start_and_fails_the_check(pki: Path, tmp_path: Path) -> None:
    wrong = {**files(pki, "server"), "ingress_key": str(pki / "client.key"), "data": str(tmp_path)}
    started = await processor("run", **wrong)
    assert started.returncode == 2
    (line,) = started.stderr.splitlines()
    assert f"PROCESSOR_INGRESS_KEY='{pki / 'client.key'}' don't belong together" in line
    checked = await processor("check", **wrong)
    assert checked.returncode == 1
    (line,) = [line for line in checked.stdout.splitlines() if line.startswith("WRONG")]
    assert "ingress: PROCESSOR_INGRESS_CERT=" in line
