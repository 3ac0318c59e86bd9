"""The peers' own fold has the load's truth, and what can't be had says why."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.messages.catalog import MIXED
from bench.peers import environment, systems
from bench.peers.environment import PeerMissing, python_with
from bench.peers.job import (
    Row,
    Shown,
    changes,
    is_observation,
    joined,
    observation,
    request_id,
)
from bench.support.load import Event, Load
from bench.support.measure import differences, get, models
from tests.support.servers.process import free_port

LOAD = Load(requests=2_000, models=3)
LOADS = (LOAD, Load(requests=2_000, models=3, kinds=MIXED))


def _folded(events: Iterator[Event] | list[Event]) -> Shown:
    shown, kept = Shown(), dict[str, Row]()
    for event in events:
        headers = dict(event.headers)
        shown.events += 1
        if not is_observation(headers):
            continue
        request = request_id(headers).decode()
        after = joined(kept.get(request), observation(headers, json.loads(event.value)))
        if after is not None:
            shown.add(changes(kept.get(request), after))
            kept[request] = after
    return shown


@pytest.mark.parametrize("load", LOADS, ids=["plain", "mixed"])
@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_repetition_ends_in_the_truth(seed: int, load: Load) -> None:
    events = list(load.events())
    mixed = random.Random(seed).sample(events + events[:500], len(events) + 500)

    assert differences(load.expected(), _folded(events).models()["models"]) == []
    assert differences(load.expected(), _folded(mixed).models()["models"]) == []


def test_a_lost_event_is_seen() -> None:
    events = list(LOAD.events())
    lost = dict(events[0].headers)["ce_id"]

    shown = _folded([event for event in events if dict(event.headers)["ce_id"] != lost])

    assert differences(LOAD.expected(), shown.models()["models"]) != []


def test_a_correction_takes_the_old_count_back() -> None:
    prediction = ["2026-11-20T09:00:01Z", ["a"], "m"]
    right, wrong = ["2026-11-20T09:00:02Z", [], ""], ["2026-11-20T09:00:03Z", ["b"], ""]
    first = joined(joined(None, prediction), right)
    assert first is not None

    second = joined(first, wrong)

    assert second is not None
    assert joined(second, right) is None
    assert joined(second, wrong) is None
    minute = "2026-11-20T09:00"
    assert changes(first, second) == [(("m", minute, "a", "a"), -1), (("m", minute, "b", "a"), 1)]


def test_shown_over_http() -> None:
    shown, port = _folded(LOAD.events()), free_port()

    shown.serve(port)

    url = f"http://127.0.0.1:{port}"
    assert get(f"{url}/metrics") == f"processor_events_total {shown.events}\n".encode()
    assert differences(LOAD.expected(), models(url)) == []


def test_a_package_that_cannot_be_installed_gives_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "cache_folder", lambda: tmp_path)

    # No registry is asked: a path that is not there.
    with pytest.raises(PeerMissing, match=r"python failed: ERROR: .*no-such-package"):
        python_with("broken", [str(tmp_path / "no-such-package.whl")])


def test_without_a_compiler_java_peers_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PeerMissing, match="install a JDK"):
        systems.class_path()


def test_an_environment_is_made_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(command: list[str]) -> None:
        made.append(command[2])
        if command[2] == "venv":
            Path(command[-1]).mkdir(exist_ok=True)
        elif len(made) == 2:
            raise PeerMissing("no network")

    monkeypatch.setattr(environment, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(environment, "_run", run)
    with pytest.raises(PeerMissing, match="no network"):
        python_with("x", ["x==1"])

    first = python_with("x", ["x==1"])

    assert python_with("x", ["x==1"]) == first
    assert made == ["venv", "pip", "venv", "pip"]
