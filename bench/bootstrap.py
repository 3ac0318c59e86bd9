"""Measure a worker's first start from many documents in Elasticsearch.

It is compared with one loop over `helpers.scan`, before and after, that only counts the same
documents. Then the start is repeated with two workers, and the one that reads the documents is killed
half-way. Each time the counts must become exact. All of this is done with documents of the last days,
whose requests are kept, and with older ones, which are only counted.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch, helpers

from tests.support.faults.documents import document
from tests.support.servers.elasticsearch import ElasticsearchServer
from tests.support.servers.indices import MAPPING

from .support.command import command, kafka_and_folder, parser
from .support.measure import Service, get, metric, resident_bytes, wait_until
from .support.processor_app import fresh_name, worker
from .support.topic_fill import fresh_topic

_SHARDS = 4
_MODELS = 10
_DAY = 86_400
_LIMIT = 900.0

#: (predictions, judged, correct) by deployment.
Counts = Mapping[str, tuple[int, int, int]]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.bootstrap", __doc__, "--documents 20000")
    line.add_argument(
        "--documents", type=int, default=1_000_000, help="number of documents (%(default)s)"
    )
    line.add_argument(
        "--days", type=int, nargs="+", default=[1, 40],
        help="ages of the newest document; over 7: counted and not kept (1 and 40)",
    )  # fmt: skip
    options = line.parse_args(arguments)
    with kafka_and_folder() as (kafka, folder), ElasticsearchServer(heap="2g") as elastic:
        for days in options.days:
            _say(f"documents of {days} days and up to 50 hours more:")
            _measure(kafka, folder, elastic.url, options.documents, days)
    return 0


def _measure(kafka: str, folder: Path, elastic: str, documents: int, days: int) -> None:
    """Start from documents of this age: undisturbed, and with a kill."""
    index = f"inference-log-{fresh_name()}"
    with Elasticsearch(elastic, request_timeout=120) as client:
        begin = time.perf_counter()
        _load(client, index, documents, int(time.time()) - days * _DAY)
        rate = documents / (time.perf_counter() - begin)
        _say(f"{documents:,} documents indexed at {rate:,.0f}/s")
        apart = partial(_workers, kafka, elastic, index, folder)
        before = _scan(client, index)
        with ExitStack() as stack:
            (one,) = apart(stack, 1)
            rate, marks = _read(one, documents)
        # What else the machine does changes with time: the mean of before and after.
        scan = 2 / (1 / before + 1 / _scan(client, index))
        memory = ", ".join(f"{share:.0%} {size >> 20} MiB" for share, size in marks)
        _say(f"bootstrap: exact, {rate:,.0f}/s, {rate / scan:.2f} of the scan; memory at {memory}")
        with ExitStack() as stack:
            killed, again = _read_with_a_kill(apart(stack, 2), documents)
        _say(
            f"leader killed after {killed:,} documents: exact; the other read {again:,}, "
            f"{killed + again - documents:,} of them twice"
        )
        client.indices.delete(index=index)


def _scan(client: Elasticsearch, index: str) -> float:
    """Documents per second of one `helpers.scan` loop."""
    begin = time.perf_counter()
    scanned = sum(1 for _ in helpers.scan(client, index=index))
    rate = scanned / (time.perf_counter() - begin)
    _say(f"one helpers.scan loop: {scanned:,} documents at {rate:,.0f}/s")
    return rate


def _workers(
    kafka: str, elastic: str, index: str, folder: Path, stack: ExitStack, number: int
) -> list[Service]:
    """Workers of a fresh app that start from the index."""
    topic = fresh_topic(kafka)
    settings = {
        "PROCESSOR_ARCHIVE": elastic, "PROCESSOR_INDEX": index, "PROCESSOR_INGRESS_PORT": "0",
    }  # fmt: skip
    return [
        stack.enter_context(worker(kafka, topic, topic, folder / f"{topic}-{each}", settings))
        for each in range(number)
    ]


def _read(one: Service, documents: int) -> tuple[float, list[tuple[float, int]]]:
    """Documents per second, and the worker's memory at shares of them."""
    shares = [0.1, 0.25, 0.5, 0.75, 1.0]
    marks: list[tuple[float, int]] = []
    begin = time.monotonic()

    def read_all() -> bool:
        nonlocal begin
        read = _documents(one)
        if not read:
            begin = time.monotonic()
        elif read >= documents * shares[len(marks)]:
            marks.append((shares[len(marks)], resident_bytes(one.process.pid)))
        return len(marks) == len(shares)

    wait_until(read_all, [one], _LIMIT, lambda: "the documents were not read", pause=0.05)
    rate = documents / (time.monotonic() - begin)
    _until_exact(one, documents)
    return rate, marks


def _read_with_a_kill(workers: Sequence[Service], documents: int) -> tuple[int, int]:
    """Kill the worker that reads half-way; the documents that it read, and those of the other."""

    def half() -> bool:
        return max(map(_documents, workers)) >= documents // 2

    wait_until(half, workers, _LIMIT, lambda: "the documents were not read", pause=0.05)
    leader, other = sorted(workers, key=_documents, reverse=True)
    killed = _documents(leader)
    leader.process.kill()
    _until_exact(other, documents)
    return killed, _documents(other)


def _until_exact(one: Service, documents: int) -> None:
    wanted, found = _truth(documents), _counts(one)

    def exact() -> bool:
        nonlocal found
        found = _counts(one)
        return found == wanted and get(f"{one.url}/ready?wait=bootstrap") is not None

    wait_until(exact, [one], _LIMIT, lambda: f"{found}, not {wanted}", pause=0.2)


def _documents(one: Service) -> int:
    return int(metric(one.url, "processor_bootstrap_documents_total") or 0)


def _counts(one: Service) -> Counts:
    body = get(f"{one.url}/api/models?window=all&by=request")
    return {
        model["deployment"]: (model["predictions"], model["judged"], model["correct"])
        for model in json.loads(body or b'{"models": []}')["models"]
    }


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
    """A document as the request logger writes it, with an id and inputs of common length."""
    source = document(number, end)
    inputs = {"data": {"ndarray": [[5.1, 3.5, 1.4, 0.2]]}}
    return source | {
        "RequestId": f"{number:08x}-87f4-4bb1-8db7-95b0f3d6a9c4",
        "Ce-Namespace": "bench",
        "Ce-Inferenceservicename": f"model-{number % _MODELS}",
        "@timestamp": source["response"]["ce-time"],
        "request": {"ce-time": source["response"]["ce-time"], "payload": inputs},
    }


def _truth(documents: int) -> Counts:
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
