"""The job in Bytewax: one worker, with or without recovery in SQLite every second.

It runs in an environment of its own; its one argument is JSON: [app id (unused), bootstrap servers,
topic, port, recovery folder, "recovery" or "none"].
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.job import (
    Cell,
    Change,
    Observation,
    Row,
    Shown,
    changes,
    is_observation,
    joined,
    observation,
    request_id,
)

_EPOCH = timedelta(seconds=1)

Counts = dict[Cell, int]


def build(bootstrap: str, topic: str, shown: Shown) -> Any:
    def observe(events: list[Any]) -> Iterable[tuple[str, Observation]]:
        shown.events += len(events)
        for event in events:
            headers = dict(event.headers)
            if is_observation(headers):
                body = orjson.loads(event.value)
                yield request_id(headers).decode(), observation(headers, body)

    def join(before: Row | None, seen: Observation) -> tuple[Row | None, list[Change]]:
        after = joined(before, seen)
        return (before, []) if after is None else (after, changes(before, after))

    def by_model(moved: list[tuple[str, Change]]) -> Iterable[tuple[str, list[Change]]]:
        models: defaultdict[str, list[Change]] = defaultdict(list)
        for _, change in moved:
            models[change[0][0]].append(change)
        return models.items()

    def count(counts: Counts | None, moved: list[Change]) -> tuple[Counts, list[Any]]:
        """A model's state is its counts; they are shown with those of the other models."""
        counts = counts or {}
        for cell, change in moved:
            shown.counts[cell] = counts[cell] = counts.get(cell, 0) + change
        return counts, []

    flow = Dataflow("bench")
    events = op.input(
        "source",
        flow,
        # The same fetches and polls as for the other systems.
        KafkaSource(
            [bootstrap],
            [topic],
            batch_size=5_000,
            add_config={"max.partition.fetch.bytes": str(4 * 1024 * 1024)},
        ),
    )
    observations = op.flat_map_batch("observe", events, observe)
    moved = op.stateful_flat_map("join", observations, join)
    grouped = op.flat_map_batch("by-model", moved, by_model)
    op.output("none", op.stateful_flat_map("count", grouped, count), StdOutSink())
    return flow


def main() -> None:
    _, bootstrap, topic, port, folder, recovery = json.loads(sys.argv[1])
    shown = Shown()
    shown.serve(port)
    config = None
    if recovery == "recovery":
        state = Path(folder)
        state.mkdir()
        init_db_dir(state, 1)
        config = RecoveryConfig(state)
    flow = build(bootstrap, topic, shown)
    cli_main(flow, workers_per_process=1, epoch_interval=_EPOCH, recovery_config=config)


if __name__ == "__main__":
    main()
