"""A worker with an empty data folder takes over from the snapshots in a real S3-compatible store."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processor.stream.shared.stores import StoreError, open_store
from tests.support.faults.cluster import until
from tests.support.servers import Broker
from tests.support.servers.bucket import s3_server
from tests.support.workers import (
    Get,
    Start,
    assert_equal,
    counted,
    expected,
    kafka_settings,
    models,
    produce,
)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server("snapshots", tmp_path / "s3.log") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield "s3://snapshots/some/prefix"


async def test_a_takeover_without_local_files(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    bucket: str,
) -> None:
    _check_store(bucket)
    source = topic(partitions=8)
    settings = kafka_settings(kafka, source, app_id, partitions="2", snapshots=bucket)
    first = start(data="first", **settings)
    await produce(kafka.bootstrap, source)
    await counted(get, first, judged=63)
    _, metrics = await get(first, "/metrics")
    assert "processor_snapshot_store_up 1.0" in metrics
    assert await first.terminate() == 0
    second = start(data="second", **settings)
    await counted(get, second, judged=63)
    (found,) = await models(get, second)
    assert_equal(found, expected())
    begun = re.findall(r"join \S+/([01]): from offset (\d+) \(shared snapshot\)", second.text)
    assert {number for number, _ in begun} == {"0", "1"}
    assert all(int(offset) > 0 for _, offset in begun)
    # A store that goes away stops nothing, and is told.
    missing = start(data="third", **{**settings, "snapshots": "s3://no-such-bucket"})

    async def told() -> bool:
        status, body = await get(missing, "/ready")
        causes = [one["cause"] for one in json.loads(body)["problems"]] if status else []
        return status == 200 and "snapshots" in causes

    await until(told, 60, "the problem is told by a worker that is ready")
    _, metrics = await get(missing, "/metrics")
    assert "processor_snapshot_store_up 0.0" in metrics
    assert re.search(r"processor_snapshot_copy_failures_total [1-9]", metrics)


def _check_store(url: str) -> None:
    """Larger than one part of an upload, and than one block of a download."""
    store, key = open_store(url), "app/log/0/12-a.snapshot"
    parts = [bytes([number]) * 1_000_003 for number in range(20)]
    size = sum(map(len, parts))
    assert store.sizes("app/log/0") == {}
    store.put(key, iter(parts))
    assert store.sizes("app/log/0") == {"12-a.snapshot": size}
    assert b"".join(store.read(key, size)) == b"".join(parts)

    def broken() -> Iterator[bytes]:
        yield parts[0]
        raise OSError("the local disk fails")

    with pytest.raises(OSError, match="the local disk fails"):
        store.put("app/log/0/13-a.snapshot", broken())
    assert store.sizes("app/log/0") == {"12-a.snapshot": size}
    store.remove([key, "app/log/0/1-a.snapshot"])
    assert store.sizes("app/log/0") == {}
    with pytest.raises(FileNotFoundError):
        list(store.read(key, size))
    with pytest.raises(StoreError, match="404"):
        open_store("s3://no-such-bucket").sizes("app")
