"""The command ``processor check``: tests each thing that the service needs, and all that ``processor
run`` refuses."""

import asyncio
import errno
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import aiohttp

from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.sqlite.archive import SqliteReader
from processor.domain.native import use_native
from processor.errors import ProcessorError
from processor.ingress.tls import ingress_tls
from processor.models_file import read_models_file
from processor.publish.workers.access import metrics_tls
from processor.service.check_kafka import check_kafka
from processor.settings import Settings
from processor.stream.shared.stores import open_store

Verdict = Literal["ok", "notice", "WRONG"]

#: The windows of the shipped alerts, and how long a process on a port may take to say what it is.
ALERT_WINDOWS, _ANSWER_WITHIN = ("24h", "7d", "all"), 2.0


class Finding(NamedTuple):
    """One line of the output: ``subject`` is the thing that was tested. A notice does not make the
    command fail."""

    subject: str
    verdict: Verdict
    detail: str


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Test settings, models file, ports, data folder, broker, topics and archive; yields findings as
    they come.

    It changes nothing, and reports errors as findings.
    """
    for finding in _check_settings(settings):
        yield finding
    for name, port in (("METRICS", settings.metrics_port), ("INGRESS", settings.ingress_port)):
        yield await _check_port(name, port)
    yield await asyncio.to_thread(_check_folder, settings.data)
    if settings.embedded:
        async for finding in _check_embedded(settings):
            yield finding
        return
    async for result in check_kafka(settings):
        yield Finding(*result)
    yield await asyncio.to_thread(_check_snapshots, settings)
    if not settings.elasticsearch:
        yield Finding("archive", "ok", "none")
        return
    try:
        archive = ElasticsearchArchive(settings.archive, settings.index, settings)
    except ProcessorError as error:
        yield Finding("archive", "WRONG", str(error))
        return
    try:
        yield Finding("archive", "ok", await archive.check())
    except ProcessorError as error:
        yield Finding("archive", "WRONG", str(error))
    finally:
        await archive.close()


def _check_settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("settings", "ok", "valid")
    for line in settings.without_effect():
        yield Finding("settings", "notice", line)
    names = [window.name for window in settings.windows]
    if absent := [name for name in ALERT_WINDOWS if name not in names]:
        yield Finding(
            "windows",
            "notice",
            f"the shipped alerts look at {', '.join(absent)} too, and never fire without: add "
            f"{'it' if len(absent) == 1 else 'them'} to PROCESSOR_WINDOWS",
        )
    native = "in use" if use_native else f"{_why_not(settings)}: slower"
    yield Finding("native extension", "ok" if use_native else "notice", native)
    try:
        read_models_file(settings.models, settings.custom_statistics)
        yield Finding("models file", "ok", str(settings.models or "none"))
    except ProcessorError as error:
        yield Finding("models file", "WRONG", str(error))
    try:
        yield Finding("metrics port", "ok", _metrics_security(settings))
    except ProcessorError as error:
        yield Finding("metrics port", "WRONG", str(error))
    try:
        yield Finding("ingress", "ok", _ingress_security(settings))
    except ProcessorError as error:
        yield Finding("ingress", "WRONG", str(error))


def _check_snapshots(settings: Settings) -> Finding:
    if not settings.snapshots:
        return Finding("snapshots", "ok", "in the data folder alone")
    try:
        open_store(settings.snapshots).sizes(settings.app_id)
    except ProcessorError as error:
        return Finding("snapshots", "WRONG", str(error))
    except OSError as error:
        return Finding("snapshots", "WRONG", f"PROCESSOR_SNAPSHOTS={settings.snapshots}: {error}")
    return Finding("snapshots", "ok", f"{settings.snapshots} can be listed")


def _why_not(settings: Settings) -> str:
    return "switched off" if settings.compiled == "off" else "not installed"


def _metrics_security(settings: Settings) -> str:
    tls = "plain HTTP" if metrics_tls(settings)[0] is None else "TLS"
    return f"{tls}, readers need the token" if settings.metrics_token else tls


def _ingress_security(settings: Settings) -> str:
    encryption = "plain HTTP"
    if ingress_tls(settings) is not None:
        encryption = "TLS, callers need a certificate" if settings.ingress_ca else "TLS"
    needs = "senders need" if settings.ingress_token else "without"
    return f"{encryption}, {needs} a token"


async def _check_port(name: str, port: int) -> Finding:
    subject = f"port {port}"
    if port == 0:
        return Finding(subject, "ok", f"PROCESSOR_{name}_PORT takes a free one")
    try:
        with socket.create_server(("", port)):
            return Finding(subject, "ok", "free")
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        in_use = error.errno == errno.EADDRINUSE
    if in_use and await _is_processor(port):
        return Finding(
            subject, "notice", "a processor that runs here has it: no second one can start"
        )
    return Finding(
        subject, "WRONG", f"{reason}: set PROCESSOR_{name}_PORT to another, or to 0 for a free one"
    )


async def _is_processor(port: int) -> bool:
    """Whether a processor answers on a port of this machine: both ports name their routes."""
    limit = aiohttp.ClientTimeout(_ANSWER_WITHIN)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"http://127.0.0.1:{port}/no-such-route") as answer,
        ):
            content = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
        return False
    return isinstance(content, dict) and bool({"routes", "reason", "error"} & content.keys())


def _check_folder(folder: Path) -> Finding:
    """Write a file and remove it; a folder that does not exist yet must be one that can be made."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        detail = f"{folder} can't be written to ({reason}): set PROCESSOR_DATA to another folder"
        return Finding("data folder", "WRONG", detail)
    state = os.statvfs(existing)
    free = state.f_bavail * state.f_frsize / (1 << 30)
    how = "can be written to" if existing == folder else "will be made at the first start"
    return Finding("data folder", "ok", f"{folder} {how}, {free:.1f} GiB free")


async def _check_embedded(settings: Settings) -> AsyncIterator[Finding]:
    yield Finding("broker", "ok", "none: embedded, events come in over HTTP")
    path = settings.data / "events.sqlite"
    if settings.archive.startswith("sqlite:"):
        path = Path(settings.archive.removeprefix("sqlite:"))
    elif settings.archive:
        yield Finding(
            "archive",
            "WRONG",
            f"PROCESSOR_ARCHIVE={settings.archive} needs PROCESSOR_BROKER: use sqlite:PATH, or leave it "
            "empty",
        )
        return
    if not path.exists():
        yield Finding("archive", "ok", f"{path} will be created at the first start")
        return
    try:
        reader = await SqliteReader.open_read_only(path)
        try:
            yield Finding("archive", "ok", f"{path} contains {await reader.count()} events")
        finally:
            await reader.close()
    except ProcessorError as error:
        yield Finding("archive", "WRONG", str(error))
