"""Measure the CPU time for decoding one event, in µs, by kind of payload and of envelope.

It needs no broker.
"""

import sys
import time
from collections.abc import Sequence

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import format_time
from processor.telemetry import Telemetry
from tests.support.domain.envelope_kinds import ENVELOPES, FEEDBACK, NS, RESPONSE, binary
from tests.support.domain.payload_kinds import PAYLOADS, Payload

from .support.command import parser

_EVENTS, _ROUNDS = 1000, 9
_FEEDBACKS = {
    "reward": Payload(b'{"reward":1}', ""),
    "truth": Payload(b'{"reward":1,"truth":{"data":{"ndarray":[[0,0,1]]}}}', ""),
}


def costs() -> dict[str, float]:
    """CPU µs by kind: every payload in binary mode, then a row of scores in every other envelope."""
    found = {f"binary: {name}": _cost(binary(one, RESPONSE)) for name, one in PAYLOADS.items()}
    found |= {f"feedback: {name}": _cost(binary(one, FEEDBACK)) for name, one in _FEEDBACKS.items()}
    return found | {
        f"{make.__name__}: ndarray": _cost(make(PAYLOADS["ndarray"], RESPONSE))
        for make in ENVELOPES
        if make is not binary
    }


def table(found: dict[str, float]) -> str:
    """Markdown: a row for each kind."""
    rows = [f"| {name} | {cost:.1f} |" for name, cost in found.items()]
    return "\n".join(["| decoding | CPU µs/event |", "|---|---|", *rows])


def _cost(event: RawEvent) -> float:
    """The best of some rounds: a busy machine only ever adds."""
    events = _copies(event)
    return min(_round(events) for _ in range(_ROUNDS))


def _round(events: Sequence[RawEvent]) -> float:
    decode = Decoder(ModelRules(), Telemetry()).decode
    begin = time.thread_time()
    for headers, value, timestamp in events:
        decoded = decode(headers, value, timestamp)
    cost = time.thread_time() - begin
    assert not decoded.dead_letters, decoded.dead_letter
    return cost / len(events) * 1e6


def _copies(event: RawEvent) -> list[RawEvent]:
    """The event with other ids and times, its headers new as they are from a consumer."""
    copies = []
    for number in range(_EVENTS):
        own = {
            "ce_requestid": b"request-%d" % number,
            "ce_time": format_time(NS + number * 1_000_003).encode(),
        }
        headers = [
            ((" " + name)[1:], own.get(name, content) if content else content)
            for name, content in event.headers
        ]
        copies.append(event._replace(headers=headers))
    return copies


def main(arguments: Sequence[str] | None = None) -> int:
    parser("bench.decode", __doc__, "").parse_args(arguments)
    print(table(costs()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
