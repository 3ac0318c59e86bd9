"""`processor check` finds what `processor run` would refuse, and changes nothing."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from processor.kafka.clients import Kafka
from processor.kafka.topics import prepare
from processor.service.check import ALERT_WINDOWS, Finding, check
from processor.settings import Settings
from tests.support.servers import Broker
from tests.support.servers.process import free_port

_RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules.yml"


def _settings(folder: Path, **settings: str) -> Settings:
    given = {"data": str(folder), "metrics_port": "0", "ingress_port": "0", **settings}
    return Settings.from_env({f"PROCESSOR_{name.upper()}": one for name, one in given.items()})


async def _found(folder: Path, **settings: str) -> dict[str, Finding]:
    """The findings by subject; of several the last one."""
    settings = {"broker": f"kafka://127.0.0.1:{free_port()}", **settings}
    return {one.subject: one async for one in check(_settings(folder, **settings))}


async def test_what_has_no_effect_is_a_notice(tmp_path: Path) -> None:
    found = await _found(tmp_path, windows="5m,7d", outcomes="on")
    assert found["settings"].verdict == "notice"
    assert "PROCESSOR_OUTCOMES=on has no effect without an archive" in found["settings"].detail
    assert (found["windows"].verdict, "24h, all too" in found["windows"].detail) == ("notice", True)
    assert found["ingress"] == Finding("ingress", "ok", "plain HTTP, without a token")
    found = await _found(tmp_path, ingress_token="secret")
    assert found["ingress"].detail == "plain HTTP, senders need a token"
    assert found["settings"] == Finding("settings", "ok", "valid")
    assert "windows" not in found
    assert found["broker"].verdict == "WRONG"
    assert "connection refused" in found["broker"].detail


def test_the_windows_of_the_shipped_alerts_are_known() -> None:
    rules = _RULES.read_text(encoding="utf-8")
    # Those of the families of recent counts do not depend on the settings.
    rules = re.sub(r"model_(recent_\w+|class_items)(:\w+)?\{[^}]*\}", "", rules)
    windows = set(re.findall(r'window="([^"]+)"', rules))
    assert windows == set(ALERT_WINDOWS)


async def test_files_and_folders_that_cant_be_used_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("models: []\n")
    found = await _found(
        tmp_path,
        data=str(file / "below"),
        models=str(tmp_path / "none.yaml"),
        kafka_security_protocol="SSL",
        kafka_ca=str(tmp_path / "none.pem"),
        archive="https://127.0.0.1:9",
        es_ca=str(tmp_path / "no.pem"),
    )
    wrong = {name for name, one in found.items() if one.verdict == "WRONG"}
    assert wrong == {"data folder", "models file", "broker", "archive"}
    assert "PROCESSOR_DATA" in found["data folder"].detail
    assert "PROCESSOR_KAFKA_CA" in found["broker"].detail
    assert "PROCESSOR_ES_CA" in found["archive"].detail
    missing = tmp_path / "made" / "later"
    found = await _found(tmp_path, data=str(missing))
    assert found["data folder"].verdict == "ok"
    assert not missing.exists()


@contextmanager
def _taken() -> Iterator[int]:
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


async def test_a_port_of_another_program_is_wrong_and_of_a_processor_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.service.check._ANSWER_WITHIN", 0.2)
    with _taken() as port:
        found = await _found(tmp_path, metrics_port=str(port))
    assert found[f"port {port}"].verdict == "WRONG"
    assert "PROCESSOR_METRICS_PORT" in found[f"port {port}"].detail

    async def routes(request: web.Request) -> web.Response:
        return web.json_response({"error": "there is no such route", "routes": ["/"]}, status=404)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", routes)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, port=port).start()
    try:
        found = await _found(tmp_path, ingress_port=str(port))
    finally:
        await runner.cleanup()
    assert found[f"port {port}"].verdict == "notice"


async def test_the_topics_of_an_app_are_compared_with_the_settings(
    kafka: Broker, app_id: str, tmp_path: Path
) -> None:
    broker = f"kafka://{kafka.bootstrap}"
    given = {"broker": broker, "app_id": app_id, "partitions": "2", "topics": f"{app_id}-none"}
    settings = _settings(tmp_path, **given)
    before = await _found(tmp_path, **given)
    assert before[f"topic {app_id}-deltas"].detail == "will be created at the first start"
    assert before[f"topic {app_id}-none"].verdict == "WRONG"
    assert "log" not in before
    await prepare(Kafka(settings, settings.broker), settings)
    found = await _found(tmp_path, **given, topics_optional="on")
    assert {name for name, one in found.items() if one.verdict != "ok"} == {f"topic {app_id}-none"}
    assert found[f"topic {app_id}-none"].verdict == "notice"
    found = await _found(tmp_path, **{**given, "partitions": "3", "horizon": "14d"})
    assert "set it to 2" in found[f"topic {app_id}-deltas"].detail
    assert "PROCESSOR_HORIZON of 604800 s" in found["log"].detail
    found = await _found(tmp_path, **{**given, "horizon": "14d", "topics": "^no-such-"})
    assert "retention.ms=1296000000" in found[f"topic {app_id}-observations"].detail
    assert "no topic matches" in found["topic ^no-such-"].detail
    # A check creates nothing.
    assert found[f"topic {app_id}-observations"].verdict == "WRONG"
