"""Indices as the request logger makes them, for tests."""

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch, helpers

DATA = Path(__file__).parents[2] / "data" / "seed-experiment"
MAPPING: dict[str, Any] = json.loads((DATA / "mapping.json").read_text())["declared_by_logger"]


def stored(path: Path = DATA / "elasticsearch.ndjson") -> list[dict[str, Any]]:
    """What an index held: `_id` and `_source` of each document."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Indices:
    """Fresh indices on one server, removed by `close`; `pattern` matches them all."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.client = Elasticsearch(url, request_timeout=60, **options)
        self._name = f"inference-log-{uuid.uuid4().hex[:12]}"
        self.pattern = f"{self._name}-*"

    def make(self, name: str, shards: int = 1, mappings: Mapping[str, Any] = MAPPING) -> str:
        """An index without automatic refresh: nothing is visible by chance."""
        index = f"{self._name}-{name}"
        self.client.indices.create(
            index=index,
            mappings=mappings,
            settings={
                "number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1",
            },
        )  # fmt: skip
        return index

    def add(self, index: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Store documents of `_id` and `_source`."""
        actions = (
            {"_index": index, "_id": document["_id"], "_source": document["_source"]}
            for document in documents
        )
        helpers.bulk(self.client, actions)

    def merge(self, index: str, name: str, part: Mapping[str, Any]) -> None:
        """As the logger writes: what is given is merged into the document, or makes it."""
        self.client.update(index=index, id=name, doc=part, doc_as_upsert=True)

    def close(self) -> None:
        for index in self.client.indices.get(index=self.pattern):
            self.client.indices.delete(index=index)
        self.client.close()
