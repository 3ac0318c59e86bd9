"""Hypothesis strategies for lists of events, models files and ranges.

Event times are distinct within a list (copies of one event aside), so that a digest never
decides. With `doubtful=False` cases that the rules leave open are avoided where that is cheap;
`certain_duplicates` tells whether `duplicates` of a list can be told without the order.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.support.oracle.oracle import (
    FEEDBACK,
    REQUEST,
    RESPONSE,
    DeadLetterError,
    Observation,
    Settings,
    UncountedError,
    decode,
    format_time,
    is_number,
    parse_time,
    read_prediction,
    register,
)

Event = dict[str, Any]
Draw = st.DrawFn
BASE = 1_795_165_200 * 10**9  # 2026-11-20T09:00:00Z
STEPS = (1, 999, 10**6, 60 * 10**9, 3600 * 10**9 + 1, 86400 * 10**9)
ANSWERERS = (
    ("default", "classifier"),
    ("canary", "classifier"),
    ("shadow", "classifier"),
    ("default", "second"),
)


@dataclass(frozen=True)
class Model:
    """A deployment and the sort of answers it gives."""

    namespace: str
    deployment: str
    kind: str
    names: tuple[str, ...] = ()  # in the messages
    classes: tuple[str, ...] = ()  # in the models file
    output: str | None = None


MODELS = (
    Model("seldon", "iris", "scores", ("t:0", "t:1", "t:2"), ("t:0", "t:1", "t:2"), "scores"),
    Model("seldon", "coin", "scores", ("heads", "tails"), ("heads", "tails"), "scores"),
    Model("seldon", "numbered", "scores", ("2", "1", "0"), (), "scores"),
    Model("vision", "plain", "scores", (), ("ant", "bee", "cow"), "scores"),
    Model("vision", "churn", "probability", (), ("stays", "leaves"), "probability"),
    Model("vision", "iris", "integers", (), (), "label"),
    Model("prod", "pets", "strings", (), ("bird", "cat", "dog"), "label"),
    Model("prod", "price", "regression"),
    Model("prod", "mixed", "mixed"),
)

SCORES = (0.0, 0.1, 0.2, 0.25, 0.5, 0.9, 1.0, 0, 1, 1e-300)
PROBABILITIES = (0.01, 0.3, 0.49999999999999994, 0.5, 0.7, 0.9, 0.999999)
INTEGERS: tuple[Any, ...] = (0, 1, 1.0, 2, -1, -0.0, True, False, "1", 2**53 - 1, 2.5)
STRINGS = ("cat", "dog", "bird", "fish", "1", "\u00e9\n", "x" * 256, "x" * 257, "\u20ac" * 86)
ODD: tuple[Any, ...] = (None, {}, ["a", "b"], [0.1, "a"], [[0.1, 0.9], [0.9, 0.1]])
REWARDS: tuple[Any, ...] = (
    *(None, True, False, 1, 0, 1.0, 0.0, -0.0, -1, 0.5, 0.25, 0.1, 3),
    *(0.123457, -0.000001, 1e6, -1e6),
)
BAD_REWARDS: tuple[Any, ...] = ("1", [1], {}, 1_000_001, -1e7, "true")


# Single events


def headers(
    kind: str,
    request: tuple[str, str, str],
    at: int,
    who: tuple[str | None, str | None] = ("default", "classifier"),
) -> dict[str, Any]:
    """Headers as the executor sends them; names that are None are left out."""
    namespace, deployment, request_id = request
    result = {
        "ce-id": f"event-{at}",
        "ce-type": kind,
        "ce-source": "http://:8000/",
        "ce-specversion": "1.0",
        "ce-time": format_time(at),
        "ce-requestid": request_id,
        "ce-modelid": who[1],
        "ce-inferenceservicename": deployment,
        "ce-namespace": namespace,
        "ce-endpoint": who[0],
        "content-type": "application/json",
    }
    return {name: value for name, value in result.items() if value is not None}


def pack(container: str, rows: list[Any], names: list[str] | None = None) -> dict[str, Any]:
    """A message with the rows in a container that can hold them, else in an ndarray."""
    flat = [row if isinstance(row, list) else [row] for row in rows]
    widths = {len(row) for row in flat}
    numeric = all(is_number(value) for row in flat for value in row)
    more = {} if names is None else {"names": names}
    if container == "tensor" and numeric and len(widths) == 1 and 0 not in widths:
        values = [value for row in flat for value in row]
        shape = [len(rows), widths.pop()]
        return {"data": {**more, "tensor": {"shape": shape, "values": values}}}
    if container == "jsonData":
        return {"jsonData": rows}
    if container == "scalar" and len(rows) == 1 and isinstance(rows[0], str | int | float | dict):
        return {"strData" if isinstance(rows[0], str) else "jsonData": rows[0]}
    if container == "wrapped":
        rows = [row if isinstance(row, list) else [row] for row in rows]
    return {"data": {**more, "ndarray": rows}}


def response_event(
    rows: list[Any],
    at: int = BASE,
    request: tuple[str, str, str] = ("seldon", "iris", "r-0"),
    who: tuple[str | None, str | None] = ("default", "classifier"),
    names: list[str] | None = None,
    container: str = "ndarray",
) -> Event:
    """A response event."""
    data = {**pack(container, rows, names), "meta": {"requestPath": {"classifier": "image:1"}}}
    return {"headers": headers(RESPONSE, request, at, who), "data": data}


def feedback_event(
    rows: list[Any] | None = None,
    reward: Any = None,
    at: int = BASE + 1,
    request: tuple[str, str, str] = ("seldon", "iris", "r-0"),
    who: tuple[str | None, str | None] = ("default", "classifier"),
    names: list[str] | None = None,
    container: str = "ndarray",
) -> Event:
    """A feedback event; no truth data without rows, no reward where it is None."""
    data: dict[str, Any] = {"truth": {"meta": {"tags": {"user": "someone"}}}}
    if rows is not None:
        data["truth"] |= pack(container, rows, names)
    if reward is not None:
        data["reward"] = reward
    return {"headers": headers(FEEDBACK, request, at, who), "data": data}


# What is in them


@st.composite
def score_rows(draw: Draw, width: int, doubtful: bool, nan: bool) -> list[Any]:
    """Scores, at times equal, multi-label, or with something that is no number."""
    values = SCORES + ((math.nan, math.inf) if nan else ())
    row = draw(st.lists(st.sampled_from(values), min_size=width, max_size=width))
    if all(value == 1 for value in row) and not doubtful:
        row[0] = 0.5
    return row


@st.composite
def predicted_rows(draw: Draw, model: Model, doubtful: bool, nan: bool) -> Any:
    """One row of a prediction."""
    kind = model.kind
    if kind == "mixed":
        kind = draw(st.sampled_from(["scores", "probability", "integers", "strings", "odd"]))
    if kind == "scores":
        return draw(score_rows(len(model.names) or 3, doubtful, nan))
    if kind == "probability":
        more: tuple[Any, ...] = (0, 1.0, 1.5, True) if doubtful else ()
        return draw(st.sampled_from(PROBABILITIES + more))
    if kind == "integers":
        more = (2**53, 1e300, math.nan) if doubtful and nan else ()
        return draw(st.sampled_from(INTEGERS + more))
    if kind == "strings":
        return draw(st.sampled_from(STRINGS))
    if kind == "regression":
        return draw(st.sampled_from([1.5, -0.5, 12.75, -3.25, 1e12, -2e12, 0.125, 7]))
    return copy.deepcopy(draw(st.sampled_from(ODD)))


@st.composite
def truths(
    draw: Draw, model: Model, count: int, doubtful: bool
) -> tuple[list[Any], list[str] | None]:
    """Truth rows and names."""
    kind = model.kind
    styles = ["own"]
    if kind in ("scores", "mixed"):
        styles = ["one-hot", "one-hot", "index", "name", "soft"]
    elif kind == "strings":
        styles = ["own", "index"]
    if doubtful:
        styles += ["anything"]
    style = draw(st.sampled_from(styles))
    width = len(model.names) or 3
    names: list[str] | None = None
    if style in ("one-hot", "soft") and model.names and draw(st.booleans()):
        names = list(model.names)
        if draw(st.booleans()):
            names.reverse()
    if style == "one-hot" and draw(st.integers(0, 4)):
        hot = st.lists(st.integers(0, width - 1), min_size=count, max_size=count)
        return [[int(i == spot) for i in range(width)] for spot in draw(hot)], names
    rows: list[Any] = []
    for _ in range(count):
        if style == "one-hot":  # none or several are hot
            row = draw(st.lists(st.integers(0, 1), min_size=width, max_size=width))
            rows.append(row if doubtful or 0 in row else [0] * width)
        elif style == "soft":
            rows.append(draw(score_rows(width, doubtful, False)))
        elif style == "index":
            rows.append(draw(st.sampled_from([0, 1, 1.0, 2, 7, -1])))
        elif style == "name":
            rows.append(draw(st.sampled_from((*model.names, *model.classes, "0", "ghost"))))
        elif style == "anything":
            other = draw(st.sampled_from(MODELS))
            rows.append(draw(predicted_rows(other, True, False)))
        elif kind == "probability":
            more: tuple[Any, ...] = (True, False, 0.6, 2) if doubtful else ()
            rows.append(draw(st.sampled_from((0, 1, 1.0, 0.01, 0.999, "1", "leaves", *more))))
        else:
            rows.append(draw(predicted_rows(model, doubtful, False)))
    return rows, names


CONTAINERS = st.sampled_from(["ndarray", "ndarray", "wrapped", "tensor", "jsonData", "scalar"])


@st.composite
def feedback_bodies(draw: Draw, model: Model, count: int, doubtful: bool) -> Event:
    """Feedback (at no time yet) with truth, reward, both or neither."""
    content = draw(st.sampled_from(["truth", "reward", "both", "reward", "truth", "neither"]))
    rows: list[Any] | None = None
    names: list[str] | None = None
    reward: Any = None
    if content in ("truth", "both"):
        if draw(st.integers(0, 9)) == 9:
            count = draw(st.integers(1, 5))
        rows, names = draw(truths(model, count, doubtful))
    if content in ("reward", "both"):
        more: tuple[Any, ...] = (1e-7, 0.9999999, 0.0000005, 1000000.0000001) if doubtful else ()
        reward = draw(st.sampled_from(REWARDS + more))
    event = feedback_event(rows, reward, names=names, container=draw(CONTAINERS))
    if rows and names is None and draw(st.integers(0, 3)) == 3:
        # Without a message around them: the rows, or the value of the only one.
        is_value = len(rows) == 1 and isinstance(rows[0], str | int | float)
        event["data"]["truth"] = rows[0] if is_value and draw(st.booleans()) else rows
    return event


@st.composite
def broken_events(draw: Draw, request: tuple[str, str, str], doubtful: bool) -> Event:
    """An event that can't be read, whose other parts are fine."""
    kinds = ["json", "id", "time", "reward", "containers", "type", "unknown", "tensor"]
    kinds += ["no-time", "empty", "list", "two-in-response", "no-data"] if doubtful else []
    kind = draw(st.sampled_from(kinds))
    event = feedback_event([1], 1, request=request)
    if kind in ("empty", "two-in-response", "tensor", "no-data") or draw(st.booleans()):
        event = response_event([[0.1, 0.9]], request=request)
    if kind == "json":
        event["data"] = draw(st.sampled_from(["{not json", "{'data': 1}"]))
    elif kind == "id":
        del event["headers"]["ce-requestid"], event["headers"]["ce-id"]
    elif kind == "time":
        bad = ["yesterday", "2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z", "1795165200"]
        event["headers"]["ce-time"] = draw(st.sampled_from(bad))
    elif kind == "reward":
        rows = draw(st.sampled_from([None, [1]]))
        event = feedback_event(rows, draw(st.sampled_from(BAD_REWARDS)), request=request)
    elif kind == "containers":
        event = feedback_event([1], request=request)
        event["data"]["truth"]["data"]["tensor"] = {"shape": [1, 1], "values": [1]}
    elif kind == "type":
        del event["headers"]["ce-type"]
    elif kind == "unknown":
        event["headers"]["ce-type"] = "com.example.other"
    elif kind == "tensor":
        event["data"]["data"] = {"tensor": {"shape": [2, 2], "values": [1, 2, 3]}}
    elif kind == "no-time":
        del event["headers"]["ce-time"]
    elif kind == "two-in-response":
        event["data"]["data"]["tensor"] = {"shape": [1, 1], "values": [1]}
    elif kind == "empty":
        event["data"]["data"]["ndarray"] = []
    elif kind == "no-data":
        del event["data"]["data"]
    else:
        event["data"] = [1, 2]
    return event


# Lists of events


def addressed(event: Event, request: tuple[str, str, str], who: tuple[Any, Any]) -> Event:
    """A copy of an event for a request, a predictor and a node."""
    result = copy.deepcopy(event)
    result["headers"] = headers(result["headers"]["ce-type"], request, BASE, who)
    return result


@st.composite
def request_events(
    draw: Draw, model: Model, request_id: str, doubtful: bool, nan: bool
) -> list[Event]:
    """All events of one request, at no time yet."""
    request = (model.namespace, model.deployment, request_id)
    size = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    events: list[Event] = []
    many = draw(st.sampled_from([0, 1, 1, 1, 2, 3]))
    answerers = draw(st.permutations(ANSWERERS))[:many] if many > 1 else list(ANSWERERS[:many])
    for who in answerers:
        for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):  # more than one: corrections
            count = size if draw(st.integers(0, 7)) else draw(st.integers(1, 4))
            row = predicted_rows(model, doubtful, nan)
            rows = draw(st.lists(row, min_size=count, max_size=count))
            names = list(model.names) or None
            packed = draw(CONTAINERS)
            events.append(response_event(rows, BASE, request, who, names, packed))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        body = draw(feedback_bodies(model, size, doubtful))
        to = draw(st.sampled_from(["one", "one", "nobody", "all", "stranger"]))
        if to == "nobody":
            events.append(addressed(body, request, (None, None)))
        elif to == "all":  # the executor's fan-out
            events += [addressed(body, request, who) for who in answerers]
        elif to == "stranger" or not answerers:
            events.append(addressed(body, request, draw(st.sampled_from(ANSWERERS))))
        else:
            events.append(addressed(body, request, draw(st.sampled_from(answerers))))
    if draw(st.integers(0, 5)) == 5:
        events.append({"headers": headers(REQUEST, request, BASE), "data": {"strData": "x"}})
    if draw(st.integers(0, 5)) == 5:
        events.append(draw(broken_events(request, doubtful)))
    if draw(st.integers(0, 9)) == 9:  # told apart by the id of the event alone
        for event in events:
            if "ce-requestid" in event["headers"]:
                event["headers"]["ce-id"] = event["headers"].pop("ce-requestid")
    return events


def written(at: int, style: str) -> str:
    """A time in one of the ways RFC 3339 has for it."""
    if style == "Z":
        return str(format_time(at))
    if style == "zeros":
        seconds, rest = divmod(at, 10**9)
        return str(format_time(seconds * 10**9))[:-1] + f".{rest:09d}Z"
    sign, hours = style[0], int(style[1:3])
    shift = (1 if sign == "+" else -1) * (hours * 3600 + int(style[4:6]) * 60)
    return str(format_time(at + shift * 10**9))[:-1] + style


@st.composite
def event_lists(
    draw: Draw, doubtful: bool = False, nan: bool = False, most_requests: int = 4
) -> list[Event]:
    """Events of some requests to some deployments, in any order, some of them repeated."""
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
    events: list[Event] = []
    for number in range(draw(st.integers(1, most_requests))):
        # Deployments share the ids of requests now and then: they are different requests.
        shared = number // 2 if len(models) > 1 else number
        request_id = f"r-{shared}" if shared % 2 else f"0a1b2c3d-0000-4000-8000-{shared:012x}"
        model = models[number % len(models)]
        events += draw(request_events(model, request_id, doubtful, nan))
    events = list(draw(st.permutations(events)))
    step = draw(st.sampled_from(STEPS))
    style = draw(st.sampled_from(["Z", "Z", "zeros", "+00:00", "+05:30", "-08:00"]))
    for number, event in enumerate(events):
        stamp = event["headers"].get("ce-time")
        if stamp is not None and stamp in (format_time(BASE), format_time(BASE + 1)):
            event["headers"]["ce-time"] = written(BASE + number * step, style)
        if event["headers"].get("ce-id", "").startswith("event-"):
            event["headers"]["ce-id"] = f"event-{number}"
    if events:
        again = draw(st.lists(st.sampled_from(events), max_size=3))
        events += copy.deepcopy(again)
    return list(draw(st.permutations(events)))


@st.composite
def models_files(
    draw: Draw, doubtful: bool = False, exclude: bool = False
) -> dict[str, Any] | None:
    """A models file that fits MODELS, or none."""
    if draw(st.integers(0, 2)) == 0:
        return None
    entries: list[dict[str, Any]] = []
    for model in draw(st.lists(st.sampled_from(MODELS), max_size=5)):
        entry: dict[str, Any] = {"match": f"{model.namespace}/{model.deployment}"}
        entry["match"] += draw(st.sampled_from(["", "", "/*", "/default", "/*/classifier", "/c*"]))
        if draw(st.booleans()) and model.output:
            entry["output"] = model.output
        if draw(st.booleans()) and model.classes:
            entry["classes"] = list(model.classes)
            if model.kind == "probability":
                entry["output"] = "probability"
        if doubtful and draw(st.booleans()):
            entry["output"] = draw(st.sampled_from(["scores", "probability", "label"]))
        if model.kind == "regression" and "output" not in entry and draw(st.booleans()):
            entry["task"] = "regression"
        elif doubtful and "output" not in entry and draw(st.booleans()):
            entry["task"] = draw(st.sampled_from(["classification", "regression"]))
        if draw(st.booleans()):
            # A coarse unit cannot tell a fine tolerance.
            entry["tolerance"] = draw(st.sampled_from([0, 400, "10%", "33.3%"]))
            if draw(st.booleans()):
                entry["unit"] = draw(st.sampled_from([1e-6, 0.01, 1, 100.0]))
            elif draw(st.booleans()):
                entry["tolerance"] = draw(st.sampled_from([0.5, 4]))
        entries.append(entry)
    for match in draw(st.lists(st.sampled_from(["*/*", "seldon/*", "*/*/shadow", "v*/[ip]*"]))):
        entries.append({"match": match})
    for entry in entries:
        if draw(st.booleans()):
            entry["judge_by"] = draw(st.sampled_from(["truth", "reward"]))
        if draw(st.booleans()):
            entry["threshold"] = draw(st.sampled_from([0.5, 0.3, 0.7]))
        if exclude and draw(st.integers(0, 3)) == 3:
            entry["exclude"] = True
    return {"models": entries}


@st.composite
def ranges(draw: Draw, events: list[Event]) -> tuple[int | None, int | None]:
    """A range (start, end) in nanoseconds that cuts between or at the times of events."""
    times = [BASE]
    for event in events:
        try:
            times.append(parse_time(event["headers"].get("ce-time")))
        except (DeadLetterError, UncountedError):
            continue
    edge = st.one_of(st.none(), st.builds(int.__add__, st.sampled_from(times), st.integers(-1, 1)))
    start, end = draw(edge), draw(edge)
    if start is not None and end is not None and start > end:
        start, end = end, start
    return start, end


# What can't be foreseen


def rough(seen: Observation) -> str:
    """What any digest must tell apart: the labels of rows, not all of their numbers or names."""
    rows = [read_prediction(row, seen.names, Settings()) for row in seen.rows or []]
    readings = [(row.reason, None if row.mode == "probability" else row.label) for row in rows]
    return repr((seen.rows is None, readings, seen.reward))


def certain_duplicates(events: list[Event]) -> bool:
    """Whether `duplicates` follows from the rules for any order and any fair digest.

    It doesn't where a register got several contents, one of them more than once (the lost one
    may have been forgotten), where contents differ by numbers alone, or where equal content
    came at another time without being the executor's fan-out.
    """
    seen_by: dict[tuple[Any, ...], list[Observation]] = defaultdict(list)
    for event in events:
        try:
            seen = decode(event)
        except (DeadLetterError, UncountedError):
            continue
        if seen is not None:
            is_feedback = event["headers"]["ce-type"] == FEEDBACK
            seen_by[register(seen, is_feedback)].append(seen)
    for seen_here in seen_by.values():
        contents = {seen.content for seen in seen_here}
        if len(contents) > 1 and len(contents) < len(seen_here):
            return False
        if len({rough(seen) for seen in seen_here}) < len(contents):
            return False
        times: dict[tuple[str, str | None, str | None], set[int]] = defaultdict(set)
        for seen in seen_here:
            times[seen.content, seen.predictor, seen.node].add(seen.time)
        if any(len(at) > 1 for at in times.values()):
            return False
    return True
