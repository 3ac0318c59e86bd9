"""The job in Quix Streams: `group_by`, and a stateful step on RocksDB with a changelog.

The counts are plain memory, since its state is bound to the request's key and a second `group_by`
would cost another topic. It runs in an environment of its own; its one argument is JSON:
[app id, bootstrap servers, topic, port, state folder, processing guarantee].
"""

import json
import sys
from typing import Any

import orjson
from quixstreams import Application

from bench.peers.job import Shown, changes, is_observation, joined, observation, request_id

_ROW = "row"


def build(
    app_id: str, bootstrap: str, topic: str, folder: str, guarantee: str, shown: Shown
) -> Any:
    app = Application(
        broker_address=bootstrap,
        consumer_group=app_id,
        auto_offset_reset="earliest",
        state_dir=folder,
        processing_guarantee=guarantee,
        loglevel="WARNING",
        # The same fetches and batches as for the other systems.
        consumer_extra_config={"max.partition.fetch.bytes": 4 * 1024 * 1024},
        producer_extra_config={"linger.ms": 50, "batch.size": 256 * 1024},
    )

    def observe(
        body: bytes, key: Any, timestamp: int, headers: list[tuple[str, bytes]]
    ) -> list[list[Any]]:
        shown.events += 1
        named = dict(headers)
        if not is_observation(named):
            return []
        return [[request_id(named).decode(), *observation(named, orjson.loads(body))]]

    def join(value: list[Any], state: Any) -> None:
        before = state.get(_ROW)
        after = joined(before, value[1:])
        if after is not None:
            state.set(_ROW, after)
            shown.add(changes(before, after))

    source = app.topic(topic, key_deserializer="bytes", value_deserializer="bytes")
    events = app.dataframe(source).apply(observe, expand=True, metadata=True)
    events = events.set_headers(lambda *_: [])
    by_request = events.group_by(
        lambda value: value[0], name="by-request", key_serializer="str", key_deserializer="str"
    )
    by_request.update(join, stateful=True)
    return app


def main() -> None:
    app_id, bootstrap, topic, port, folder, guarantee = json.loads(sys.argv[1])
    shown = Shown()
    shown.serve(port)
    build(app_id, bootstrap, topic, folder, guarantee, shown).run()


if __name__ == "__main__":
    main()
