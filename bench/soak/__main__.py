"""Keep two workers under a steady load for long, and restart them one after the other.

Every so often the next worker is ended (SIGTERM, every third time `kill -9`) and started again on its
data. Memory and lag are sampled. The exit code is 1 unless the counts of both workers together are
exact after the last event, and their memory was never more than a base and a number of bytes for each
request kept.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.servers import KafkaServer

from ..support.command import command, parser, say
from ..support.load import Expected
from ..support.measure import BenchError, differences, models
from ..support.processor_app import fresh_name
from ..support.topic_fill import fresh_topic
from .repeat_sender import repeating
from .report import MIB, Sample, SoakTimeline, beyond, draw, table, write_json
from .slots import Slot

_WORKERS = 2
#: One in this number of restarts is a `kill -9`.
_KILL = 3
_SAMPLE_SECONDS = 2.0
_EXACT_SECONDS = 300.0
#: The broker keeps more of the source than the processor is ever behind.
_KEPT = {"log.retention.ms": "600000", "log.segment.bytes": str(128 * MIB),
         "log.retention.check.interval.ms": "30000"}  # fmt: skip


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        broker = stack.enter_context(KafkaServer(_KEPT, heap="1g"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        course = _run(stack, broker.bootstrap, folder, options)
    print(table(course))
    too_much = beyond(course, options.base_mib * MIB, options.bytes_each)
    if options.json:
        write_json(options.json, options.rate, course)
    if options.picture:
        draw(options.picture, options.rate, course)
    if too_much > 0:
        print(
            f"bench: the workers held {too_much / MIB:,.0f} MiB more than {options.base_mib} MiB "
            f"and {options.bytes_each} bytes for each request",
            file=sys.stderr,
        )
    return 1 if too_much > 0 else 0


def _parser() -> argparse.ArgumentParser:
    line = parser("bench.soak", __doc__, "--rate 2000 --minutes 0.5 --every 10")
    line.add_argument("--rate", type=float, default=10_000, help="events a second (%(default)s)")
    line.add_argument("--minutes", type=float, default=30, help="minutes of load (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    line.add_argument(
        "--every", type=float, default=60, help="seconds from restart to restart (%(default)s)"
    )
    line.add_argument(
        "--base-mib", type=int, default=640, help="MiB that both may hold in any case (%(default)s)"
    )
    line.add_argument(
        "--bytes-each", type=int, default=128,
        help="bytes that both may hold for each request: 64, and 64 for a snapshot (%(default)s)",
    )  # fmt: skip
    line.add_argument("--json", type=Path, help="write every sample to this file")
    line.add_argument("--picture", type=Path, help="draw memory and lag to this PNG")
    return line


def _run(
    stack: ExitStack, bootstrap: str, folder: Path, options: argparse.Namespace
) -> SoakTimeline:  # fmt: skip
    topic, app_id = fresh_topic(bootstrap), fresh_name()
    slots = [
        stack.enter_context(Slot(bootstrap, topic, app_id, folder / str(number)).running())
        for number in range(_WORKERS)
    ]
    _until_ready(slots)
    seconds = options.minutes * 60
    feed = stack.enter_context(repeating(bootstrap, topic, options.rate, seconds, options.models))
    begin = time.monotonic()
    samples: list[Sample] = []
    restarts: list[tuple[float, str]] = []
    due = options.every
    while not feed.done:
        now = time.monotonic() - begin
        samples.append(Sample(now, feed.sent, *_sampled(slots)))
        for slot in slots:
            slot.renew()
        # One at a time, and the last one has all the time it takes to come back under load.
        if due <= now < seconds - options.every / 2 and all(slot.ready for slot in slots):
            kind = "kill -9" if (len(restarts) + 1) % _KILL == 0 else "SIGTERM"
            slots[len(restarts) % _WORKERS].end(kind)
            restarts.append((now, kind))
            due = now + options.every
            say(f"{now:.0f} s: {feed.sent:,} events, {kind}")
        time.sleep(_SAMPLE_SECONDS)
    ended = time.monotonic()
    _until_exact(slots, feed.expected)
    samples.append(Sample(time.monotonic() - begin, feed.sent, *_sampled(slots)))
    requests = sum(model.predictions for model in feed.expected.models.values())
    return SoakTimeline(
        feed.sent, requests, ended - begin, time.monotonic() - ended, samples, restarts
    )  # fmt: skip


def _sampled(slots: Sequence[Slot]) -> tuple[list[int | None], list[int | None]]:
    states = [slot.state for slot in slots]
    lag = [None if state is None else state["lag"] for state in states]
    return [slot.memory for slot in slots], lag


def _until_ready(slots: Sequence[Slot]) -> None:
    while not all(slot.ready for slot in slots):
        for slot in slots:
            slot.renew()
        time.sleep(0.5)


def _until_exact(slots: Sequence[Slot], expected: Expected) -> None:
    deadline = time.monotonic() + _EXACT_SECONDS
    while True:
        for slot in slots:
            slot.renew()
        wrong = differences(expected, [model for slot in slots for model in models(slot.url)])
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"wrong: {'; '.join(wrong[:5])}:\n{slots[0].log}")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
