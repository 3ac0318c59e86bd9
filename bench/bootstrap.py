"""`python -m bench.bootstrap`: a start from many documents in Elasticsearch, beside one
`helpers.scan` loop over the same; then the same start with its leader killed half-way."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

from elasticsearch import Elasticsearch, helpers

from tests.support.faults.documents import document
from tests.support.servers import kafka_server
from tests.support.servers.elasticsearch import ElasticsearchServer
from tests.support.servers.indices import MAPPING
from tests.support.servers.process import free_port
from tests.support.servers.topics import create_topics

from .measure import BenchError, child, get, tail

_SHARDS = 4
_MODELS = 10
_DAY = 86_400


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bootstrap", description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument(
        "--days", type=int, default=40,
        help="how old the newest is; over 7: counted and not kept (%(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            broker = stack.enter_context(kafka_server())
            elastic = stack.enter_context(ElasticsearchServer(heap="2g"))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            _run(broker.bootstrap, elastic.url, folder, options.documents, options.days)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _run(kafka: str, elastic: str, folder: Path, documents: int, days: int) -> None:
    index = f"inference-log-bench-{uuid.uuid4().hex[:8]}"
    end = int(time.time()) - days * _DAY
    with Elasticsearch(elastic, request_timeout=120) as client:
        begin = time.perf_counter()
        _load(client, index, documents, end)
        _say(
            f"{documents:,} documents indexed at {documents / (time.perf_counter() - begin):,.0f}/s"
        )
        begin = time.perf_counter()
        scanned = sum(1 for _ in helpers.scan(client, index=index))
        scan = scanned / (time.perf_counter() - begin)
        _say(f"one helpers.scan loop: {scanned:,} documents at {scan:,.0f}/s")
    worker = _App(kafka, elastic, index, folder, documents)
    with worker.start("one") as process:
        rate, marks = worker.read(process)
        memory = ", ".join(f"{share:.0%} {size >> 20} MiB" for share, size in marks)
        _say(f"bootstrap: exact, {rate:,.0f}/s, {rate / scan:.2f} of the scan; memory at {memory}")
    worker = _App(kafka, elastic, index, folder, documents)
    with worker.start("first") as first, worker.start("second") as second:
        killed, again = worker.read_with_a_kill(first, second)
    _say(
        f"leader killed after {killed:,} documents: exact; the other read {again:,}, "
        f"{killed + again - documents:,} of them twice"
    )


class _App:
    """Workers of one fresh app that start from the index."""

    def __init__(self, kafka: str, elastic: str, index: str, folder: Path, documents: int) -> None:
        self._app_id = f"bench-{uuid.uuid4().hex[:12]}"
        asyncio.run(create_topics(kafka, [self._app_id], 8))
        self._folder = folder
        self._documents = documents
        self._ports: dict[int, int] = {}
        self._env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        self._env |= {
            "PROCESSOR_BROKER": f"kafka://{kafka}",
            "PROCESSOR_TOPICS": self._app_id,
            "PROCESSOR_APP_ID": self._app_id,
            "PROCESSOR_ARCHIVE": elastic,
            "PROCESSOR_INDEX": index,
            "PROCESSOR_INGRESS_PORT": "0",
        }

    def start(self, name: str) -> Any:
        port = free_port()
        self._log = self._folder / f"{self._app_id}-{name}.log"
        data = self._folder / f"{self._app_id}-{name}"
        env = {
            **self._env, "PROCESSOR_METRICS_PORT": str(port), "PROCESSOR_DATA": str(data),
        }  # fmt: skip
        return _Started(child([sys.executable, "-m", "processor", "run"], self._log, env), port)

    def read(self, process: "_Worker") -> tuple[float, list[tuple[float, int]]]:
        """Documents a second, and the worker's memory at shares of them."""
        marks = [0.1, 0.25, 0.5, 0.75, 1.0]
        found: list[tuple[float, int]] = []
        begin = time.monotonic()
        read = 0
        while len(found) < len(marks):
            self._check(process, begin)
            read = process.documents()
            if not read:
                begin = time.monotonic()
            elif read >= self._documents * marks[len(found)]:
                found.append((marks[len(found)], process.memory()))
            time.sleep(0.05)
        rate = self._documents / (time.monotonic() - begin)
        self._until_exact([process], begin)
        return rate, found

    def read_with_a_kill(self, *workers: "_Worker") -> tuple[int, int]:
        begin = time.monotonic()
        while max(reads := [worker.documents() for worker in workers]) < self._documents // 2:
            for worker in workers:
                self._check(worker, begin)
            time.sleep(0.05)
        leader = workers[reads.index(max(reads))]
        other = workers[1 - workers.index(leader)]
        killed = leader.documents()
        leader.process.kill()
        self._until_exact([other], begin)
        return killed, other.documents()

    def _until_exact(self, workers: Sequence["_Worker"], begin: float) -> None:
        wanted = _truth(self._documents)
        while (found := workers[0].counts()) != wanted or not workers[0].complete():
            self._check(workers[0], begin, f"{found}, not {wanted}")
            time.sleep(0.2)

    def _check(self, worker: "_Worker", begin: float, why: str = "not read") -> None:
        if worker.process.poll() is not None:
            raise BenchError(f"a worker ended:\n{tail(self._log)}")
        if time.monotonic() - begin > 900:
            raise BenchError(f"{why} after 900 s:\n{tail(self._log)}")


class _Worker:
    def __init__(self, process: "Popen[bytes]", port: int) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"

    def documents(self) -> int:
        for line in (get(f"{self._url}/metrics") or b"").decode().splitlines():
            if line.startswith("processor_bootstrap_documents_total "):
                return int(float(line.split()[1]))
        return 0

    def complete(self) -> bool:
        return get(f"{self._url}/ready?wait=bootstrap") is not None

    def counts(self) -> dict[str, tuple[int, int, int]]:
        body = get(f"{self._url}/api/models?window=all&by=request")
        return {
            model["deployment"]: (model["predictions"], model["judged"], model["correct"])
            for model in json.loads(body or b'{"models": []}')["models"]
        }

    def memory(self) -> int:
        """Bytes that it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class _Started:
    def __init__(self, process: Any, port: int) -> None:
        self._process, self._port = process, port

    def __enter__(self) -> _Worker:
        return _Worker(self._process.__enter__(), self._port)

    def __exit__(self, *error: Any) -> None:
        self._process.__exit__(*error)


def _load(client: Elasticsearch, index: str, documents: int, end: int) -> None:
    client.indices.create(
        index=index,
        mappings=MAPPING,
        settings={
            "number_of_shards": _SHARDS, "number_of_replicas": 0, "refresh_interval": "-1",
        },
    )  # fmt: skip
    for _ in helpers.parallel_bulk(
        client, _actions(index, documents, end), thread_count=2, chunk_size=2000
    ):
        pass
    client.indices.refresh(index=index)


def _actions(index: str, documents: int, end: int) -> Iterator[dict[str, Any]]:
    for number in range(documents):
        source = _document(number, end)
        yield {"_index": index, "_id": source["RequestId"], "_source": source}


def _document(number: int, end: int) -> dict[str, Any]:
    """The tests' documents, of several models, with ids and inputs as in life."""
    source = document(number, end)
    inputs = {"data": {"ndarray": [[5.1, 3.5, 1.4, 0.2]]}}
    return source | {
        "RequestId": f"{number:08x}-87f4-4bb1-8db7-95b0f3d6a9c4",
        "Ce-Namespace": "bench",
        "Ce-Inferenceservicename": f"model-{number % _MODELS}",
        "@timestamp": source["response"]["ce-time"],
        "request": {"ce-time": source["response"]["ce-time"], "payload": inputs},
    }


def _truth(documents: int) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for number in range(documents):
        name = f"model-{number % _MODELS}"
        predictions, judged, correct = found.get(name, (0, 0, 0))
        found[name] = (
            predictions + 1, judged + (number % 2 == 0),
            correct + (number % 2 == 0 and number % 10 != 0),
        )  # fmt: skip
    return found


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
