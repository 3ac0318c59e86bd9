"""A savepoint of a running app on a real Kafka, loaded into another one with other partitions."""

import io
import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiokafka.admin import NewTopic

from processor.domain.savepoint.loading import StateLoader
from processor.kafka.clients import Kafka, running
from processor.kafka.topics import Topics, specs
from processor.savepoint.file import SavepointReader
from processor.savepoint.kafka_sink import opened
from processor.settings import Settings
from tests.support.faults.cluster import until
from tests.support.faults.log import write
from tests.support.log_format_fixture import PARTITIONS
from tests.support.log_format_fixture import path as path_of
from tests.support.servers import Broker
from tests.support.workers import DATA, Get, Start, assert_equal, expected, models, produce

ROOT = Path(__file__).resolve().parents[2]


class App:
    """The settings of an app, and the commands with these."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.settings = settings
        self._folder = folder
        self._env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        self._env |= {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
        self._env["PROCESSOR_DATA"] = str(folder / settings["app_id"])

    def run(self, command: list[str]) -> str:
        """The output of a command of the documentation, for apps of this test."""
        given = [word for word in command if "=" in word]
        settings = dict(word.removeprefix("PROCESSOR_").lower().split("=") for word in given)
        if "app_id" in settings:
            settings["app_id"] = settings["app_id"].replace(
                "feedback-metrics", self.settings["app_id"]
            )
            settings["app_id"] += "-documented"
        assert command[len(given) : len(given) + 2] == ["processor", "savepoint"]
        app = App(self._folder, **{**self.settings, **settings})
        return app.savepoint(*command[len(given) + 2 :])

    def savepoint(self, *arguments: str, fails: bool = False) -> str:
        """The output of a command; its error if it ``fails``."""
        done = subprocess.run(
            [sys.executable, "-m", "processor", "savepoint", *arguments],
            cwd=self._folder,
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


def documented() -> list[list[str]]:
    """The commands of the page on moving, each with its settings first: save, show, 16 partitions, 30
    days."""
    page = (ROOT / "docs/how-to/move.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line.split() for block in blocks for line in block.splitlines()]


async def test_an_app_goes_on_under_another_name(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    source = topic(partitions=8)
    common = {"broker": f"kafka://{kafka.bootstrap}", "topics": source, "archive": "none"}
    old = App(tmp_path, app_id=app_id, **common)
    new = App(tmp_path, app_id=f"{app_id}-2", partitions="3", **common)
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
    save, show, *loads = documented()
    assert old.run(save).startswith("saved: ")
    assert f"app           {app_id}\n" in old.run(show)
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

    for load in loads:
        assert old.run(load).startswith("loaded: ")

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


async def old_app(kafka: Broker, app_id: str) -> None:
    """The topics of an app as release 0.1.0 left them: `tests/data/log-format/2.json`."""
    stored = json.loads(path_of(2).read_text())
    topics = Topics.of(app_id)
    settings = Settings.from_env(
        {
            "PROCESSOR_BROKER": f"kafka://{kafka.bootstrap}",
            "PROCESSOR_APP_ID": app_id,
            "PROCESSOR_PARTITIONS": str(PARTITIONS),
        }
    )
    async with running(Kafka(settings, settings.broker).admin()) as admin:
        await admin.create_topics(
            [
                NewTopic(spec.name, spec.partitions, 1, topic_configs=spec.config)
                for spec in specs(settings, topics)
            ]
        )

    def values(part: list[str]) -> list[tuple[bytes | None, bytes]]:
        return [(None, b64decode(value)) for value in part]

    await write(kafka.bootstrap, topics.observations, 0, values(stored["observations"]))
    for number, part in stored["deltas"].items():
        await write(kafka.bootstrap, topics.deltas, int(number), values(part))
    for key, value in stored["table"].items():
        packed = b64decode(key)
        number = abs(int(msgspec.msgpack.decode(packed)[0]))
        await write(kafka.bootstrap, topics.changelog, number, [(packed, b64decode(value))])
    await write(
        kafka.bootstrap, topics.control, 0, [(None, each.encode()) for each in stored["control"]]
    )


async def test_a_log_of_the_release_before_is_carried_over(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get, tmp_path: Path
) -> None:
    await old_app(kafka, app_id)
    settings = {
        "broker": f"kafka://{kafka.bootstrap}",
        "topics": topic(partitions=1),
        "app_id": app_id,
        "archive": "none",
        "partitions": str(PARTITIONS),
    }
    worker = start(**settings)
    assert await worker.wait(60) == 1
    for remedy in ("has schema 2", "savepoint save PATH", "savepoint load PATH", "UPGRADE=auto"):
        assert remedy in worker.text
    path = tmp_path / "old.savepoint"
    App(tmp_path, **settings).savepoint("save", str(path))
    shown = json.loads(App(tmp_path, **settings).savepoint("show", str(path), "--format", "json"))
    assert shown["schema"] == 2
    assert shown["requests"] == 100
    worker = start(**settings, upgrade="auto")

    async def counted() -> bool:
        found = await models(get, worker)
        return bool(found) and (found[0]["predictions"], found[0]["judged"]) == (100, 63)

    await until(counted, 60, "the counts of schema 2")
    (found,) = await models(get, worker)
    assert_equal(found, expected())
    assert await worker.terminate() == 0
