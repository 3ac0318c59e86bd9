"""``processor demo``: the notebook's experiment played into a fresh embedded service."""

import asyncio
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from processor.domain.results import ModelResult, model_results
from processor.domain.times import format_time, parse_time
from processor.replay.send import send_http
from processor.service import Service, run_service
from processor.settings import Settings

#: Events a second, so that the page can be seen moving.
_RATE = 40.0
_POLL = 0.2
_TIME = re.compile(rb'"ce-time":"([^"]+)"')


async def run_demo(
    settings: Settings, once: bool, now_ns: int, stop: asyncio.Event, say: Callable[[str], None]
) -> tuple[ModelResult, ...]:
    """Play the experiment; its last event is at ``now_ns``. The numbers when they have settled;
    without ``once`` only after ``stop``."""
    result: tuple[ModelResult, ...] = ()
    with tempfile.TemporaryDirectory(prefix="processor-demo-") as folder:
        settings = replace(
            settings, broker=(), archive="", data=Path(folder), app_id="feedback-metrics-demo"
        )
        events = Path(folder) / "demo.ndjson"
        events.write_bytes(shift(_experiment(), now_ns))
        running: asyncio.Future[Service] = asyncio.get_running_loop().create_future()
        service = asyncio.create_task(run_service(settings, stop, running.set_result))
        try:
            waiting: list[asyncio.Future[Any]] = [running, service]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                result = await _play(running.result(), events, once, say)
                if not once:
                    await stop.wait()
        finally:
            stop.set()
            if not running.done():
                running.cancel()
            await service
    return result


def _experiment() -> bytes:
    return files("processor").joinpath("data/demo.ndjson").read_bytes()


def shift(events: bytes, now_ns: int) -> bytes:
    """An events file with all times moved by the same span, the last one to ``now_ns``."""
    times = [parse_time(text.decode()) or 0 for text in _TIME.findall(events)]
    by = now_ns - max(times)
    moved = iter(times)
    return _TIME.sub(
        lambda _: b'"ce-time":' + json.dumps(format_time(next(moved) + by)).encode(), events
    )


async def _play(
    service: Service, events: Path, once: bool, say: Callable[[str], None]
) -> tuple[ModelResult, ...]:
    say(f"page     {service.metrics_url}")
    say(f"metrics  {service.metrics_url}metrics")
    say(f"events   {service.ingress_url}")
    sending = asyncio.create_task(
        send_http(str(events), service.ingress_url, rate=None if once else _RATE, connections=4)
    )
    shown = ""
    while True:
        settled = sending.done() and await service.is_settled()
        results = _numbers(service)
        line = "; ".join(map(_line, results))
        if line != shown:
            say(line)
            shown = line
        if settled:
            break
        await asyncio.sleep(_POLL)
    sent = sending.result()
    say(f"settled: {sent.accepted} events" + ("" if once else "; Ctrl-C ends the demo"))
    return _numbers(service)


def _numbers(service: Service) -> tuple[ModelResult, ...]:
    # All time does not depend on the clock.
    return model_results(service.windows(0.0).get(("all", "request"), {}), "request")


def _line(result: ModelResult) -> str:
    accuracy = "-" if result.accuracy is None else f"{result.accuracy:.4f}"
    return (
        f"{result.namespace}/{result.deployment}/{result.predictor}/{result.model}: "
        f"{result.predictions} predictions, {result.judged} judged, {result.correct} correct, "
        f"accuracy {accuracy}"
    )
