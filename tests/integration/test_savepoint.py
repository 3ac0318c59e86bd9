"""A savepoint of a running app on a real Kafka, loaded into another one with other partitions."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.domain.savepoint.loading import StateLoader
from processor.kafka.clients import Kafka
from processor.savepoint.file import SavepointReader
from processor.savepoint.kafka_sink import opened
from processor.settings import Settings
from tests.support.faults.cluster import until
from tests.support.servers import Broker
from tests.support.workers import DATA, Get, Start, assert_equal, expected, models, produce


class App:
    """The settings of an app, and the commands with these."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.settings = settings
        self._env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        self._env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
        self._env["PROCESSOR_DATA"] = str(folder / settings["app_id"])

    def savepoint(self, *arguments: str, fails: bool = False) -> str:
        """The output of a command; its error if it ``fails``."""
        done = subprocess.run(
            [sys.executable, "-m", "processor", "savepoint", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == (1 if fails else 0), done.stderr
        return done.stderr if fails else done.stdout

    async def load_partly(self, path: Path, records: int) -> None:
        """A load that ends after so many records, as if it were killed."""
        settings = Settings.from_env({k: v for k, v in self._env.items() if "PROCESSOR_" in k})
        reader = SavepointReader(io.BytesIO(path.read_bytes()), str(path))
        async with opened(settings, Kafka(settings, settings.broker), reader.header) as app:
            loader = StateLoader(reader.header, app.log_id, app.partitions)
            found = [one for block in reader.blocks() for one in loader.records(block)]
            assert len(found) > records
            await app.send(found[:records])


async def test_an_app_goes_on_under_another_name(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    source = topic(partitions=8)
    common = {"broker": f"kafka://{kafka.bootstrap}", "topics": source, "archive": "none"}
    old = App(tmp_path, app_id=app_id, **common)
    new = App(tmp_path, app_id=f"{app_id}-2", partitions="3", horizon="30d", **common)
    lines = (DATA / "events.ndjson").read_bytes().splitlines(keepends=True)
    halves = []
    for number, half in enumerate((lines[:90], lines[90:])):
        halves.append(tmp_path / f"half-{number}.ndjson")
        halves[-1].write_bytes(b"".join(half))
    first = start(**old.settings, data=app_id)
    await produce(kafka.bootstrap, source, halves[0])

    async def read() -> bool:
        found = await models(get, first)
        return bool(found) and int(found[0]["predictions"]) + int(found[0]["judged"]) >= 30

    await until(read, 60, "most of the first half")
    path = tmp_path / "state.savepoint"
    assert old.savepoint("save", str(path)).startswith("saved: ")
    shown = json.loads(old.savepoint("show", str(path), "--format", "json"))
    assert (shown["app"], shown["partitions"]) == (app_id, 8)
    assert shown["requests"] >= 20
    assert shown["models"][0]["deployment"] == "sklearn"
    await produce(kafka.bootstrap, source, halves[1])

    # A load that was killed leaves an app that can't start, and is repeated.
    await new.load_partly(path, 2)
    worker = start(**new.settings, data="early")
    assert await worker.wait(60) == 1
    assert "repeat `processor savepoint load`" in worker.text
    assert new.savepoint("load", str(path)).startswith("loaded: ")
    assert "loaded into the app" in new.savepoint("load", str(path), fails=True)
    assert "has a state already" in old.savepoint("load", str(path), fails=True)

    second = start(**new.settings, data="late")
    for each in (first, second):

        async def all_counted(worker: object = each) -> bool:
            found = await models(get, each)  # noqa: B023  # awaited in this turn
            return bool(found) and (found[0]["predictions"], found[0]["judged"]) == (100, 63)

        await until(all_counted, 60, "all counted")
        (found,) = await models(get, each)
        assert_equal(found, expected())
    _, metrics = await get(second, "/metrics")
    assert f"processor_savepoint_bytes {float(path.stat().st_size)}" in metrics
    for each in (first, second):
        assert await each.terminate() == 0


@pytest.mark.parametrize("command", ["save", "load"])
def test_the_embedded_mode_has_no_savepoints_yet(command: str, tmp_path: Path) -> None:
    path = tmp_path / "state.savepoint"
    path.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "processor", "savepoint", command, str(path)],
        env={k: v for k, v in os.environ.items() if "PROCESSOR_" not in k},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "PROCESSOR_BROKER is empty" in done.stderr
