"""No secret shows, wherever it came from: logs, errors, pages, metrics."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.support.faults.cluster import until
from tests.support.reports.command import run_command
from tests.support.servers.process import free_port
from tests.support.workers import TOKEN, Get, Start

SECRETS = {
    "metrics_token": TOKEN,
    "kafka_sasl_password": "kafka-pass-7391",
    "es_password": "elastic-pass-7392",
    "ingress_token": "ingress-token-7393",
}
_API_KEY, _GIVEN = "api-key-7394", "given-7395"


@pytest.mark.parametrize("files", [False, True], ids=["environment", "files"])
async def test_secrets_are_shown_nowhere(
    files: bool, start: Start, get: Get, tmp_path: Path, app_id: str
) -> None:
    """A worker that fails to log in everywhere, at the most talkative level."""
    secrets = dict(SECRETS)
    if files:
        secrets["es_api_key"] = _API_KEY
        del secrets["es_password"]
    settings = dict(secrets)
    if files:
        settings = {}
        for name, value in secrets.items():
            (tmp_path / name).write_text(f"{value}\n")
            settings[f"{name}_file"] = str(tmp_path / name)
    else:
        settings["es_user"] = "reader"
    settings |= {
        "broker": f"kafka://127.0.0.1:{free_port()}",
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_user": "worker",
        "archive": f"http://127.0.0.1:{free_port()}",
        "app_id": app_id,
        "log_level": "DEBUG",
    }
    worker = start(**settings)
    await until(lambda: worker.text.count("next try in") >= 2, 60, "two tries")
    shown = [worker.text]
    for path in ("/", "/metrics", "/api/models", "/ready", "/health", "/page.js", "/nowhere"):
        shown.append((await get(worker, path))[1])
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    for args in (("check",), ("--debug", "run"), ("run", "--help")):
        # A wrong setting beside them, so that it ends with an error.
        more = {"PROCESSOR_WINDOWS": "nonsense"} if "run" in args else {}
        done = await asyncio.to_thread(run_command, args, env | more)
        shown.append(done.stdout + done.stderr)
    assert "nonsense" in shown[-2]
    for text in shown:
        _assert_clean(text)


async def test_a_token_that_is_refused_is_not_shown(start: Start, get: Get) -> None:
    """Neither the one that is wanted nor the one that was given."""
    worker = start(ingress_token=SECRETS["ingress_token"], log_level="DEBUG")
    await until(lambda: "events in: " in worker.text, 60, "the ingress")
    url = worker.text.split("events in: ")[1].split()[0]
    async with aiohttp.ClientSession() as session:
        for token, status in ((_GIVEN, 401), (SECRETS["ingress_token"], 400)):
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
            async with session.post(url, data=b"no event", headers=headers) as answer:
                assert answer.status == status
                _assert_clean(await answer.text() + str(answer.headers))
    for path in ("/", "/metrics", "/ready"):
        _assert_clean((await get(worker, path))[1])
    _assert_clean(worker.text)


def _assert_clean(text: str) -> None:
    for secret in (*SECRETS.values(), _API_KEY, _GIVEN):
        assert secret not in text, text
