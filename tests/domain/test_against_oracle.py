"""The whole fold, from events to results, against an independent oracle of the counting rules."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import parse_rules
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from tests.support.oracle.oracle import replay
from tests.support.oracle.strategies import (
    Event,
    certain_duplicates,
    event_lists,
    models_files,
    ranges,
)

#: The counters that the oracle knows, and that don't depend on the order of arrival.
COUNTED = (
    "read",
    "says_nothing",
    "unmatched_feedback",
    "rows_differ",
    "ambiguous",
    "not_scorable",
    "dead_letters",
)


def raw(event: Event) -> RawEvent:
    """An event as a Kafka record; text under `data` is a body that is not JSON."""
    headers = [
        (name.replace("ce-", "ce_", 1), str(value).encode())
        for name, value in event["headers"].items()
    ]
    data = event.get("data")
    body = data if isinstance(data, str) else json.dumps(data)
    return RawEvent(headers, body.encode(), -1)


def fold(
    events: list[Event],
    file: dict[str, Any] | None,
    by: str = "request",
    start: int | None = None,
    end: int | None = None,
) -> dict[str, Any]:
    """The result of the product."""
    product = ReplayFold(parse_rules(file, "models.yaml"), Selection(by, start, end))
    product.add(map(raw, events))
    result = msgspec.to_builtins(product.result())
    assert isinstance(result, dict)
    return result


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """All leaves by path, so that equal shapes have equal keys and floats can be compared one by one."""
    if isinstance(value, dict):
        pairs = [(f"{path}/{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(f"{path}/{i}", item) for i, item in enumerate(value)]
    else:
        return {path: value}
    leaves = {path: len(pairs)}
    for where, item in pairs:
        leaves |= flat(item, where)
    return leaves


def compare_models(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare names, counts and cells exactly, floats to 1e-9 (the log loss to 1e-6)."""
    for key in ("from", "to", "by"):
        assert found[key] == expected[key]
    one, other = flat(found["models"]), flat(expected["models"])
    assert one.keys() == other.keys()
    for path, value in other.items():
        if isinstance(value, float):
            # The log loss is counted in millionths of each item.
            bound = 1e-6 if path.endswith("/log_loss") else 1e-9
            assert one[path] == pytest.approx(value, rel=1e-9, abs=bound), path
        else:
            assert one[path] == value, path


def compare(
    events: list[Event], file: Any, found: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Compare the models, and the counters of events that the rules determine."""
    compare_models(found, expected)
    for key in COUNTED:
        assert found["events"][key] == expected["events"][key], key
    # All rows that don't suit an `output` have the same content: the digest of rule 12 is that of
    # labels, and the rules don't say whether rows without a label differ.
    outputs = [entry for entry in (file or {}).get("models", ()) if "output" in entry]
    if not outputs and certain_duplicates(events):
        assert found["events"]["duplicates"] == expected["events"]["duplicates"]


def valid(file: dict[str, Any] | None) -> dict[str, Any] | None:
    """The file without classes that the product refuses: a probability has two."""
    for entry in (file or {}).get("models", ()):
        if entry.get("output") == "probability" and len(entry.get("classes", ())) != 2:
            entry.pop("classes", None)
    return file


@st.composite
def cases(draw: st.DrawFn, doubtful: bool, nan: bool) -> tuple[list[Event], Any, str, Any, Any]:
    """Events, a models file, a basis and a range."""
    events = draw(event_lists(doubtful=doubtful, nan=nan))
    file = valid(draw(models_files(doubtful=doubtful)))
    by = draw(st.sampled_from(["request", "feedback"]))
    start, end = draw(ranges(events)) if draw(st.booleans()) else (None, None)
    return events, file, by, start, end


@given(cases(doubtful=False, nan=False))
def test_common_events(case: tuple[list[Event], Any, str, Any, Any]) -> None:
    """Counting rules 1 to 12, 15, 17 and 19 to 22."""
    events, file, by, start, end = case
    found, expected = fold(events, file, by, start, end), replay(events, file, by, start, end)
    compare(events, file, found, expected)


@given(cases(doubtful=True, nan=True))
def test_edge_cases(case: tuple[list[Event], Any, str, Any, Any]) -> None:
    """The same rules for edge cases: NaN, booleans, odd rows and containers."""
    events, file, by, start, end = case
    found, expected = fold(events, file, by, start, end), replay(events, file, by, start, end)
    compare(events, file, found, expected)


@given(
    event_lists(doubtful=True, nan=True),
    models_files(doubtful=True, exclude=True).map(valid),
    st.sampled_from(["request", "feedback"]),
)
def test_excluded_models(events: list[Event], file: Any, by: str) -> None:
    """Counting rule 1: the models file can exclude nodes.

    Counters of events are not compared: the product does not decode the bodies of excluded models, so
    it finds no errors in them, and feedback for excluded models only is unmatched.
    """
    compare_models(fold(events, file, by), replay(events, file, by))
