"""Measure how fast a replay reads, and how much memory it takes.

It reads local events files, and an Elasticsearch index beside one loop over `helpers.scan` that only
counts the documents. Each run is a process of its own; its time counts only if its counts are exact.
"""

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from elasticsearch import Elasticsearch, helpers

from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings
from tests.support.servers.elasticsearch import ElasticsearchServer

from .support.command import command, parser, say
from .support.load import Load
from .support.measure import BenchError, Run, differences, own_usage, run_json

_PAGE = 2000


@command
def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.child:
        print(json.dumps(asdict(_child(options))))
        return 0
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for requests in options.requests:
            runs += _from_files(Path(folder) / f"{requests}.ndjson", requests, options.repeats)
    if options.documents:
        runs += _from_elasticsearch(options.documents, options.repeats)
    print(_table(runs))
    return 0


def _from_files(path: Path, requests: int, repeats: int) -> Iterator[Run]:
    with path.open("wb") as file:
        for headers, value in Load(requests).events():
            file.write(format_line(RawEvent(headers, value, 0)) + b"\n")
    for _ in range(repeats):
        yield _run(f"events file, {requests:,} requests", str(path), requests)
    path.unlink()


def _from_elasticsearch(documents: int, repeats: int) -> Iterator[Run]:
    index = f"inference-log-{uuid.uuid4().hex[:12]}"
    with ElasticsearchServer(heap="1g") as server:
        client = Elasticsearch(server.url, request_timeout=60)
        client.indices.create(
            index=index, settings={"number_of_shards": 1, "number_of_replicas": 0}
        )
        helpers.bulk(client, _documents(index, Load(documents)))
        client.indices.refresh(index=index)
        client.close()
        for _ in range(repeats):
            yield _run("helpers.scan, counted only", server.url, documents, index, scan=True)
            yield _run("Elasticsearch", server.url, documents, index)


def _documents(index: str, load: Load) -> Iterator[dict[str, Any]]:
    """A document for each request with its response, as the request logger stores it.

    The load's feedback is left out, so that the truth is simple.
    """
    for headers, value in load.events():
        attributes = {name: text.decode() for name, text in headers}
        if not attributes["ce_type"].endswith("response"):
            continue
        body = json.loads(value)
        yield {
            "_index": index,
            "_id": attributes["ce_requestid"],
            "RequestId": attributes["ce_requestid"],
            "Ce-Namespace": attributes["ce_namespace"],
            "Ce-Inferenceservicename": attributes["ce_inferenceservicename"],
            "Ce-Endpoint": attributes["ce_endpoint"],
            "Ce-Modelid": attributes["ce_modelid"],
            "@timestamp": attributes["ce_time"],
            "request": {
                "payload": {"data": {"ndarray": [[6.7, 3.0, 5.2, 2.3]]}},
                "instance": [6.7, 3.0, 5.2, 2.3],
                "dataType": "tabular",
            },
            "response": {
                "payload": body,
                "instance": body["data"]["ndarray"][0],
                "dataType": "tabular",
                "ce-time": attributes["ce_time"],
            },
        }


def _run(system: str, source: str, requests: int, index: str = "", *, scan: bool = False) -> Run:
    arguments = ["--child", source, "--requests", str(requests), "--system", system]
    arguments += ["--index", index] if index else []
    run = Run(**run_json("bench.replay", [*arguments, *(["--scan"] if scan else [])]))
    say(f"{system}: {run.rate:,.0f} events/s")
    return run


def _child(options: argparse.Namespace) -> Run:
    """One run in this process."""
    gc.set_threshold(500_000, 20, 100)  # as the command does
    begin, used = time.perf_counter(), own_usage()
    models: list[dict[str, Any]] = []
    if options.scan:
        with Elasticsearch(options.child, request_timeout=60) as client:
            events = sum(1 for _ in helpers.scan(client, index=options.index, size=_PAGE))
    else:
        settings = Settings.from_env({})
        access = Access(settings, options.index)
        fold = fold_sources([options.child], ModelRules(), Selection(), access)
        result = asyncio.run(fold).result()
        events, models = result.events.read, msgspec.to_builtins(result.models)
    seconds, total = time.perf_counter() - begin, own_usage()
    if models:
        expected = Load(options.requests[0]).expected()
        if options.index:  # documents without feedback
            for model in expected.models.values():
                model.cells.clear()
        wrong = differences(expected, models)
        if wrong:
            raise BenchError("wrong: " + "; ".join(wrong[:5]))
    elif not options.scan:
        raise BenchError("no models")
    cpu_seconds = total.cpu_seconds - used.cpu_seconds
    return Run(options.system, events, seconds, cpu_seconds, total.peak_bytes)


def _table(runs: Sequence[Run]) -> str:
    """Markdown: the best run of each system, since other processes of the machine only slow it."""
    lines = [
        "| source | events | events/s | events/s of CPU time | peak MB |",
        "|---|---|---|---|---|",
    ]
    for system in dict.fromkeys(run.system for run in runs):
        best = max((run for run in runs if run.system == system), key=lambda run: run.rate)
        lines.append(
            f"| {system} | {best.events:,} | {best.rate:,.0f} "
            f"| {best.events / best.cpu_seconds:,.0f} | {best.peak_bytes / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    line = parser("bench.replay", __doc__, "--requests 10000 --documents 0 --repeats 1")
    line.add_argument(
        "--requests", type=int, nargs="+", default=[100_000, 1_000_000],
        help="numbers of requests, an events file each (%(default)s)",
    )  # fmt: skip
    line.add_argument(
        "--documents",
        type=int,
        default=50_000,
        help="documents in Elasticsearch; 0 = without it (%(default)s)",
    )
    line.add_argument(
        "--repeats", type=int, default=3, help="times that each run is repeated (%(default)s)"
    )
    for internal in ("--child", "--system", "--index"):
        line.add_argument(internal, default="", help=argparse.SUPPRESS)
    line.add_argument("--scan", action="store_true", help=argparse.SUPPRESS)
    return line


if __name__ == "__main__":
    sys.exit(main())
