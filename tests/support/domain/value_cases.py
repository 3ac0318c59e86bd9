"""Requests whose rows are probabilities, numbers or label sets, and their way through the join and the
tally."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.log.observations import EVENT, BatchBuilder, Feedback, Prediction
from processor.domain.log.records import encode
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.domain.results import model_results
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import format_time
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, on_the_log
from tests.support.log_format_fixture import BEGIN, new_join, new_tally, time_of

Observation = Prediction | Feedback
MODEL = ModelKey("seldon", "values", "default", "model")


class Request(NamedTuple):
    """The rows of an answer and of its truth. ``before`` is the truth of an earlier feedback."""

    rows: Sequence[Any]
    truth: Sequence[Any]
    before: Sequence[Any] | None = None
    names: Sequence[str] | None = None


class Arrivals(NamedTuple):
    """The order in which observations arrive, some of them twice, and how many are in each batch."""

    order: list[int]
    sizes: list[int]


@st.composite
def arrivals(draw: st.DrawFn, count: int) -> Arrivals:
    """The arriving of a number of observations."""
    again = draw(st.lists(st.integers(0, count - 1), max_size=4)) if count else []
    order = draw(st.permutations([*range(count), *again]))
    return Arrivals(order, draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))


def observations(requests: Sequence[Request], rule: dict[str, Any]) -> list[Observation]:
    """The observations of requests to a model with an entry of the models file."""
    decoder = Decoder(parse_rules({"models": [{"match": "*/*", **rule}]}, "file"), Telemetry())
    found: list[Observation] = []
    for number, (rows, truth, before, names) in enumerate(requests):
        request_id = f"0a1b2c3d-0000-4000-8000-{number:012x}" if number % 3 else f"r-{number}"
        bodies: list[tuple[str, Any]] = [("inference.response", message(rows, names))]
        if before is not None:
            bodies.append(("feedback", {"truth": message(before, None)}))
        bodies.append(("feedback", {"truth": message(truth, None)}))
        for at, (kind, body) in enumerate(bodies):
            headers = {
                "ce_type": f"io.seldon.serving.{kind}",
                "ce_time": str(format_time(BEGIN + at)),
                "ce_requestid": request_id,
                "ce_modelid": MODEL.model,
                "ce_inferenceservicename": MODEL.deployment,
                "ce_namespace": MODEL.namespace,
                "ce_endpoint": MODEL.predictor,
            }
            encoded = [(name, text.encode()) for name, text in headers.items()]
            decoded = decoder.decode(encoded, json.dumps(body).encode(), 0)
            assert not decoded.dead_letters
            found += decoded.observations
    return found


def message(rows: Sequence[Any], names: Sequence[str] | None) -> dict[str, Any]:
    """A Seldon message."""
    return {"data": {"ndarray": [*rows], **({} if names is None else {"names": [*names]})}}


def prediction(number: int, answer: Any, packed: bytes, digest: int) -> Prediction:
    """An answer of one item that was interpreted already."""
    return Prediction(MODEL, f"r-{number}", BEGIN, EVENT, digest, (answer,), values=(packed,))


def counts(seen: Sequence[Observation], arriving: Arrivals) -> Counts:
    """The counts of observations on the request basis, through the log, the join and the tally."""
    join = new_join()
    tallies = {number: new_tally(number, {}) for number in range(4)}
    order = [seen[number] for number in arriving.order]
    offset = 0
    while order:
        size = arriving.sizes[offset % len(arriving.sizes)]
        builder = BatchBuilder()
        for one in order[:size]:
            builder.add(one)
        del order[:size]
        batch = on_the_log(builder.build(LOG_ID))
        for partition, delta in join.apply(offset, time_of(offset), batch).items():
            tallies[partition].fold(offset, time_of(offset), encode(delta))
        offset += 1
    total = Counts()
    for stage in tallies.values():
        for _, window, basis, found in stage.board(BEGIN / 1e9):
            if (window, basis) == ("all", "request"):
                total.add(found)
    return total


def result(total: Counts) -> dict[str, Any]:
    """The JSON of the result of some counts."""
    (found,) = model_results({MODEL: total}, "request")
    built: dict[str, Any] = json.loads(msgspec.json.encode(found))
    return built


def flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """All leaves by path."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield path, len(value)
        for key, item in pairs:
            yield from flat(item, f"{path}/{key}")
    else:
        yield path, value
