"""Writing events as the request logger's documents."""

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
from elasticsearch import AsyncElasticsearch

from processor.archive.elasticsearch.http import ElasticsearchHttp, reason_of, reply
from processor.domain.events.attributes import FEEDBACK
from processor.domain.events.request_log import Document, Logged, ids, merge, rows_of
from processor.errors import ArchiveError
from processor.settings import Settings

logger = logging.getLogger(__name__)

_TEMPLATE = "feedback-metrics-inference-log"
_KEYWORD = {"type": "keyword"}
_STORED = {"type": "object", "enabled": False}
_MESSAGE = {
    "properties": {
        "ce-time": {"type": "date"},
        "ce-source": _KEYWORD,
        "dataType": _KEYWORD,
        "names": _KEYWORD,
        # Kept as it came and not looked into: its types differ from one message to the next.
        "payload": _STORED,
        "meta": _STORED,
    }
}
_NAMES = (
    "RequestId",
    "ServingEngine",
    "Ce-Endpoint",
    "Ce-Inferenceservicename",
    "Ce-Modelid",
    "Ce-Namespace",
)
_MAPPINGS: Document = {
    "date_detection": False,
    "dynamic_templates": [
        {"elements": {"path_match": "*.elements.*", "mapping": {"type": "float"}}},
        {"texts": {"match_mapping_type": "string", "mapping": {**_KEYWORD, "ignore_above": 1024}}},
    ],
    "properties": {
        "@timestamp": {"type": "date"},
        **dict.fromkeys(_NAMES, _KEYWORD),
        "request": _MESSAGE,
        "response": _MESSAGE,
        "feedback": {
            "properties": {
                "ce-time": {"type": "date"},
                "ce-source": _KEYWORD,
                "reward": {"type": "double"},
                "truth": {"properties": {"data": _STORED}},
                "request": _STORED,
                "response": _STORED,
            }
        },
        "outcome": {
            "properties": {
                "predicted": _KEYWORD,
                "actual": _KEYWORD,
                "correct": {"type": "boolean"},
                "request_time": {"type": "date"},
                "feedback_time": {"type": "date"},
            }
        },
    },
}  # fmt: skip
#: Rounds for documents that someone else writes at the same moment.
_ROUNDS = 20


class _Held(NamedTuple):
    """A document as it is."""

    source: Document
    seq_no: int
    primary_term: int


class Written(NamedTuple):
    """Documents that were written, and those that Elasticsearch refuses for what they hold."""

    documents: int
    refused: int


Place = tuple[str, str]


class RequestLog:
    """Writes to the indices ``inference-log-...``. `ArchiveError` where the server can't be used."""

    def __init__(self, url: str, settings: Settings, patience: float | None = None) -> None:
        self._http = ElasticsearchHttp(url, "inference-log-*", settings, patience)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def prepare(self) -> None:
        """Put the index template; to be repeated does no harm."""

        async def put(client: AsyncElasticsearch) -> None:
            await client.indices.put_index_template(
                name=_TEMPLATE,
                index_patterns=["inference-log-*"],
                priority=50,
                template={
                    # A value of another type than the first one's must not refuse a document.
                    "settings": {"index.mapping.ignore_malformed": True},
                    "mappings": _MAPPINGS,
                },
            )

        await self._http.call("putting the index template", put)

    async def write(self, events: Sequence[Logged]) -> Written:
        """Merge events into their documents; all of it is durable on return."""
        ordered = sorted(events, key=lambda one: (one.index_name, one.request_id))
        waiting = [
            list(some) for _, some in groupby(ordered, lambda one: (one.index_name, one.request_id))
        ]
        written = refused = 0
        for _ in range(_ROUNDS):
            if not waiting:
                return Written(written, refused)
            held = await self._held(waiting)
            operations: list[Document] = []
            owners: list[tuple[int, Place, Document]] = []
            for number, group in enumerate(waiting):
                for place, document in _documents(group, held):
                    operations += _operation(place, held.get(place), document)
                    owners.append((number, place, document or {}))
            results = await self._bulk(operations)
            again: set[int] = set()
            for (number, place, document), result in zip(owners, results, strict=True):
                if "error" not in result:
                    written += 1
                elif result["status"] in (409, 429, 503):
                    again.add(number)
                elif await self._write_bare(place, document):
                    written += 1
                else:
                    refused += 1
                    logger.warning(
                        "document %s of %s is refused: %s",
                        place[1], place[0], reason_of(msgspec.json.encode(result)),
                    )  # fmt: skip
            waiting = [waiting[number] for number in sorted(again)]
        raise ArchiveError(f"{len(waiting)} requests are written by others at the same moment")

    async def _write_bare(self, place: Place, document: Document) -> bool:
        """A document without what is made for charts alone; what is counted stays."""
        bare = {
            name: {key: one for key, one in part.items() if key not in ("instance", "elements")}
            if isinstance(part, dict) and name != "outcome"
            else part
            for name, part in document.items()
        }
        (result,) = await self._bulk([{"index": _meta(place)}, bare])
        return "error" not in result

    async def _held(self, waiting: Iterable[list[Logged]]) -> dict[Place, _Held]:
        """The documents that there are of some requests: single ones, and all items of batches."""
        first = {
            (group[0].index_name, name)
            for group in waiting
            for request_id in [group[0].request_id]
            for name in (request_id, f"{request_id}-item-0")
        }
        held = await self._get(first)
        more = {
            (group[0].index_name, name)
            for group in waiting
            for name in ids(group[0].request_id, _rows(group, held))
        }
        return held | await self._get(more - first)

    async def _get(self, places: Iterable[Place]) -> dict[Place, _Held]:
        wanted = [{"_index": index, "_id": name} for index, name in sorted(places)]
        if not wanted:
            return {}

        async def get(client: AsyncElasticsearch) -> Document:
            return reply((await client.mget(docs=wanted)).body)

        found = await self._http.call("reading documents", get)
        return {
            (one["_index"], one["_id"]): _Held(one["_source"], one["_seq_no"], one["_primary_term"])
            for one in found.get("docs", ())
            if one.get("found")
        }

    async def _bulk(self, operations: list[Document]) -> list[Document]:
        if not operations:
            return []

        async def bulk(client: AsyncElasticsearch) -> list[Document]:
            answer = reply((await client.bulk(operations=operations)).body)
            return [next(iter(one.values())) for one in answer.get("items", ())]

        return await self._http.call("writing documents", bulk)


def _rows(group: Sequence[Logged], held: dict[Place, _Held]) -> int:
    """How many rows a request has; feedback alone may not tell."""
    index, request_id = group[0].index_name, group[0].request_id
    for name in (f"{request_id}-item-0", request_id):
        there = held.get((index, name))
        rows = rows_of(there.source) if there is not None else 0
        if rows:
            return rows
    # Of a feedback only if there is nothing else: its rows may be wrong in number.
    return max((one.rows for one in group if one.part != FEEDBACK), default=0) or max(
        (one.rows for one in group), default=0
    )


def _documents(
    group: Sequence[Logged], held: dict[Place, _Held]
) -> Iterable[tuple[Place, Document | None]]:
    """What the documents of a request are to be; None is one that goes."""
    index, request_id = group[0].index_name, group[0].request_id
    names = ids(request_id, _rows(group, held))
    alone = held.get((index, request_id))
    # Feedback that came before its batch has a document of its own until then.
    early = alone.source.get(FEEDBACK) if alone is not None and len(names) > 1 else None
    for item, name in enumerate(names):
        there = held.get((index, name))
        source = dict(there.source) if there is not None else {}
        if early is not None:
            source.setdefault(FEEDBACK, early)
        document = merge(source, group, item)
        if there is None or document != there.source:
            yield (index, name), document
    if early is not None:
        yield (index, request_id), None


def _meta(place: Place) -> Document:
    return {"_index": place[0], "_id": place[1]}


def _operation(place: Place, held: _Held | None, document: Document | None) -> list[Any]:
    """To be refused if someone else has written it since it was read."""
    meta = _meta(place)
    if held is not None:
        meta |= {"if_seq_no": held.seq_no, "if_primary_term": held.primary_term}
    if document is None:
        return [{"delete": meta}]
    return [{"index" if held is not None else "create": meta}, document]
