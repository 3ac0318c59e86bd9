"""Archives of both kinds, filled with the same facts in the way that each kind receives them."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from processor.archive.base import Archive
from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.decoder import Decoder
from processor.domain.events.events_file import parse_line
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.id_set import request_digest
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.support.servers.indices import DATA, Indices, stored

TIME, LATER = "2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"
NOTEBOOK = DATA / "notebook-types"


class Fact(NamedTuple):
    """A response or a feedback of one request; ``rows`` is the number of rows of a response."""

    request_id: str
    body: dict[str, Any]
    rows: int = 0
    predictor: str = "default"
    namespace: str = "ns"
    time: str = TIME

    @property
    def is_response(self) -> bool:
        return self.rows > 0


def answer(
    request_id: str, *labels: Any, predictor: str = "default", namespace: str = "ns"
) -> Fact:
    body = {"data": {"ndarray": list(labels)}}
    return Fact(request_id, body, len(labels), predictor, namespace)


def truth(request_id: str, *labels: Any) -> Fact:
    body = {"truth": {"data": {"ndarray": list(labels)}}}
    return Fact(request_id, body, time=LATER)


class ArchiveHarness(Protocol):
    """An archive, with methods to fill it and to read its outcomes without its own code."""

    @property
    def archive(self) -> Archive: ...

    async def put(self, *facts: Fact) -> None: ...

    async def put_notebook(self) -> None:
        """Put the recorded experiment with the notebook's types."""

    async def refresh(self) -> None:
        """Make stored outcomes visible."""

    def shown(self, request_id: str, items: int = 1) -> list[dict[str, Any] | None]:
        """The stored outcomes of the default predictor's items, None where there is none."""


async def publish(archive: SqliteArchive) -> None:
    """Note the requests of all events of an archive, as the embedded mode does when it folds them."""
    decoder, last = Decoder(ModelRules(), Telemetry()), 0
    while rows := await archive.events(last, 1 << 20):
        await archive.note(
            [
                (request_digest(*one[0][:2], one.request_id), number)
                for number, event in rows
                for one in decoder.decode(*event).observations
            ]
        )
        last = rows[-1][0]


def event_of(fact: Fact) -> RawEvent:
    """A fact as a CloudEvent in binary mode."""
    kind = "inference.response" if fact.is_response else "feedback"
    headers = {
        "ce_specversion": "1.0", "ce_id": "1", "ce_source": "http://clf:8000/",
        "ce_type": f"io.seldon.serving.{kind}", "ce_time": fact.time,
        "ce_requestid": fact.request_id, "ce_namespace": fact.namespace,
        "ce_inferenceservicename": "dep", "ce_endpoint": fact.predictor, "ce_modelid": "clf",
        "content-type": "application/json",
    }  # fmt: skip
    binary = tuple((name, value.encode()) for name, value in headers.items())
    return RawEvent(binary, json.dumps(fact.body).encode(), 0)


class SqliteHarness:
    """Raw events in a SQLite file, noted as if they had been published."""

    def __init__(self, archive: SqliteArchive) -> None:
        self.archive = archive

    async def put(self, *facts: Fact) -> None:
        await self._put([event_of(fact) for fact in facts])

    async def put_notebook(self) -> None:
        lines = (NOTEBOOK / "events.ndjson").read_bytes().splitlines()
        await self._put([parse_line(line, 1, 0) for line in lines])

    async def _put(self, events: Sequence[RawEvent]) -> None:
        await self.archive.append(events)
        await publish(self.archive)

    async def refresh(self) -> None:
        pass

    def shown(self, request_id: str, items: int = 1) -> list[dict[str, Any] | None]:
        connection = sqlite3.connect(self.archive.path)
        connection.row_factory = sqlite3.Row
        columns = "item, predicted, actual, correct, request_time, feedback_time"
        rows = connection.execute(
            f"SELECT {columns} FROM outcomes WHERE request_id = ? AND predictor = 'default'",
            (request_id,),
        )
        found: dict[int, dict[str, Any]] = {}
        for row in rows:
            item = dict(row)
            number = item.pop("item")
            found[number] = item
        connection.close()
        return [found.get(number) for number in range(items)]


class ElasticsearchHarness:
    """Documents as the request logger writes them: an index per predictor, a document per item."""

    def __init__(self, archive: ElasticsearchArchive, indices: Indices) -> None:
        self.archive = archive
        self._indices = indices
        self._indices_by_model: dict[tuple[str, str], str] = {}

    async def put(self, *facts: Fact) -> None:
        operations: list[dict[str, Any]] = []
        for fact in facts:
            index = self._index(fact.namespace, fact.predictor)
            names = [fact.request_id]
            if fact.rows > 1:
                names = [f"{fact.request_id}-item-{number}" for number in range(fact.rows)]
            part: dict[str, Any] = {"ce-time": fact.time}
            part |= {"payload": fact.body} if fact.is_response else fact.body
            document = {
                "RequestId": fact.request_id, "Ce-Namespace": fact.namespace,
                "Ce-Inferenceservicename": "dep", "Ce-Endpoint": fact.predictor,
                "Ce-Modelid": "clf", "response" if fact.is_response else "feedback": part,
            }  # fmt: skip
            for name in names:
                operations.append({"update": {"_index": index, "_id": name}})
                operations.append({"doc": document, "doc_as_upsert": True})
        answer = self._indices.client.bulk(operations=operations)
        assert not answer["errors"], answer
        await self.refresh()

    async def put_notebook(self) -> None:
        index = self._index("seldon", "default")
        self._indices.add(index, stored(NOTEBOOK / "elasticsearch.ndjson"))
        await self.refresh()

    def _index(self, namespace: str, predictor: str) -> str:
        key = namespace, predictor
        if key not in self._indices_by_model:
            self._indices_by_model[key] = self._indices.make("-".join(key))
        return self._indices_by_model[key]

    async def refresh(self) -> None:
        self._indices.client.indices.refresh(index=self._indices.pattern)

    def shown(self, request_id: str, items: int = 1) -> list[dict[str, Any] | None]:
        index = self._index("ns", "default")
        names = [request_id]
        if items > 1:
            names = [f"{request_id}-item-{number}" for number in range(items)]
        sources = [self._indices.client.get(index=index, id=name)["_source"] for name in names]
        return [source.get("outcome") for source in sources]
