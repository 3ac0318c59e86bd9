"""The command ``processor demo``: plays the notebook's experiment into a fresh embedded service."""

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from processor.domain.model_rules import ModelRules
from processor.domain.results import ModelResult, model_results
from processor.domain.timestamps import format_time, parse_time
from processor.errors import ProcessorError
from processor.replay.files import read_events
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.replay.send import send_http
from processor.service.service import Service, run_service
from processor.setting_values import Secret
from processor.settings import Settings

#: Events a second, slow enough to watch the page change.
_RATE = 40.0
#: Seconds between reads of the counts.
_POLL = 0.2
#: Seconds within which settled counts must be equal to those of a replay.
_PATIENCE = 30.0
_TIME = re.compile(rb'"ce-time":"([^"]+)"')


async def run_demo(
    settings: Settings, once: bool, now_ns: int, stop: asyncio.Event, report: Callable[[str], None]
) -> tuple[ModelResult, ...]:
    """Play the experiment with its last event at ``now_ns``; returns the results once they have settled.

    Without ``once`` it returns only after ``stop`` is set. ``report`` is called with each line to show.
    `ProcessorError` if the service fails, or its counts differ from those of a replay.
    """
    result: tuple[ModelResult, ...] = ()
    with tempfile.TemporaryDirectory(prefix="processor-demo-") as folder:
        settings = replace(
            settings,
            broker=(),
            archive="",
            data=Path(folder),
            app_id="feedback-metrics-demo",
            # Settings that would change the expected counts, or refuse the events.
            models=None,
            ingress_token=Secret(""),
            ingress_cert=None,
            ingress_key=None,
            ingress_ca=None,
            windows=Settings().windows,
            cell_windows=Settings().cell_windows,
        )
        events = Path(folder) / "demo.ndjson"
        events.write_bytes(shift(_experiment(), now_ns))
        running: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
        service = asyncio.create_task(run_service(settings, stop, running.set_result))
        try:
            waiting: list[asyncio.Future[Any]] = [running, service]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                playing = asyncio.create_task(_play(running.result(), events, once, stop, report))
                # If the service fails, the demo ends with the same error.
                await asyncio.wait([playing, service], return_when=asyncio.FIRST_COMPLETED)
                if playing.done():
                    result = playing.result()
                    if not once:
                        await stop.wait()
                else:
                    playing.cancel()
                    await asyncio.wait([playing])
        finally:
            stop.set()
            if not running.done():
                running.cancel()
            await service
    return result


def _experiment() -> bytes:
    return files("processor").joinpath("data/demo.ndjson").read_bytes()


def shift(events: bytes, now_ns: int) -> bytes:
    """Shift all times of an events file by the same span, so that the last one is ``now_ns``."""
    times = [parse_time(text.decode()) or 0 for text in _TIME.findall(events)]
    by = now_ns - max(times)
    moved = iter(times)
    return _TIME.sub(
        lambda _: b'"ce-time":' + json.dumps(format_time(next(moved) + by)).encode(), events
    )


async def _play(
    service: Service, events: Path, once: bool, stop: asyncio.Event, report: Callable[[str], None]
) -> tuple[ModelResult, ...]:
    report(f"page     {service.metrics_url}")
    report(f"metrics  {service.metrics_url}metrics")
    report(f"events   {service.view.ingress_url}")
    sending = asyncio.create_task(
        send_http(
            str(events),
            service.view.ingress_url,
            rate=None if once else _RATE,
            connections=4,
            stop=stop,
        )
    )
    expected = _expected(events)
    deadline = None
    shown = ""
    try:
        while not stop.is_set():
            settled = sending.done() and await service.is_settled()
            results = _results(service)
            line = "; ".join(map(_line, results))
            if line != shown:
                report(line)
                shown = line
            if settled:
                sent = sending.result()
                if results == expected:
                    report(f"settled: {sent.accepted} events" + _how_to_end(once))
                    return results
                deadline = deadline or time.monotonic() + _PATIENCE
                if time.monotonic() > deadline:
                    raise ProcessorError(
                        "the live numbers differ from those of a replay of the same events: "
                        f"{line or 'none'}, not {'; '.join(map(_line, expected))}"
                    )
            await asyncio.sleep(_POLL)
    finally:
        sending.cancel()
        await asyncio.wait([sending])
    return ()


def _how_to_end(once: bool) -> str:
    return "" if once else "; Ctrl-C ends the demo"


def _expected(events: Path) -> tuple[ModelResult, ...]:
    """The results that the service must reach: a replay of the same events."""
    fold = ReplayFold(ModelRules(), Selection())
    for chunk in read_events(str(events), -1):
        fold.add(chunk.events)
    return fold.result().models


def _results(service: Service) -> tuple[ModelResult, ...]:
    # The window of all time does not depend on the clock.
    return model_results(
        service.view.counts_source.windows(0.0).get(("all", "request"), {}), "request"
    )


def _line(result: ModelResult) -> str:
    accuracy = "-" if result.accuracy is None else f"{result.accuracy:.4f}"
    return (
        f"{result.namespace}/{result.deployment}/{result.predictor}/{result.model}: "
        f"{result.predictions} predictions, {result.judged} judged, {result.correct} correct, "
        f"accuracy {accuracy}"
    )
