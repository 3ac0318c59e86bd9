"""Savepoints that an earlier release wrote can be loaded for ever."""

from pathlib import Path

from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import parse_line
from processor.domain.log.observations import Feedback, IngestMode, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import HOUR
from processor.models_file import read_models
from processor.savepoint.file import VERSION
from processor.telemetry import Telemetry
from tests.savepoint.whole_app import WholeApp, moved, saved
from tests.support.domain.join_batches import prediction
from tests.support.log_format_fixture import BEGIN, DATA, RULES, observations_of_values

#: `python -m tests.savepoint.test_frozen` writes it, once for each new version of the format.
FROZEN = DATA / "savepoint" / f"{VERSION}.savepoint"


def app() -> WholeApp:
    """An app with the seed experiment, values of every kind, and a request that was not kept."""
    decoder = Decoder(ModelRules(), Telemetry())
    seen: list[Prediction | Feedback] = observations_of_values()
    lines = (DATA / "seed-experiment/events.ndjson").read_bytes().splitlines()
    for number, line in enumerate(lines):
        seen += decoder.decode(*parse_line(line, number, 0)).observations
    found = WholeApp(4, 7 * 24 * HOUR)
    found.pass_time(BEGIN + 40 * HOUR)
    found.put(IngestMode.COUNT_AND_DROP, [prediction("done", time=BEGIN - 400 * HOUR)])
    found.put(IngestMode.NORMAL, seen)
    return found


def test_a_frozen_savepoint_is_loaded() -> None:
    read_models(RULES, custom_statistics=True)
    try:
        old, new = app(), WholeApp(3, 7 * 24 * HOUR, "new")
        new.now = old.now
        moved(FROZEN.read_bytes(), new)
        assert new.windows() == old.windows()
        assert new.buckets() == old.buckets()
        assert new.gauges() == old.gauges()
        assert new.requests() == old.requests()
        # The request that was not kept is still known.
        before = new.buckets()
        new.put(IngestMode.NORMAL, [prediction("done", time=BEGIN - 400 * HOUR)])
        assert new.buckets() == before
    finally:
        read_models({})


def _freeze(path: Path) -> None:
    if path.exists():
        raise SystemExit(f"{path} exists: a new format needs a new VERSION")
    read_models(RULES, custom_statistics=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(saved(app()))


if __name__ == "__main__":
    _freeze(FROZEN)
