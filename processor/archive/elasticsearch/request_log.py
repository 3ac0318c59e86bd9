"""Write events as documents of Seldon's request logger."""

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
        # Stored without indexing: its types differ from one message to the next.
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
#: Attempts to write documents that others write at the same time.
_MAX_ATTEMPTS = 20


class _Stored(NamedTuple):
    """A document as it is in Elasticsearch."""

    source: Document
    seq_no: int
    primary_term: int


class Written(NamedTuple):
    """Numbers of documents: those written, and those that Elasticsearch refuses for their content."""

    documents: int
    refused: int


#: A document's index and id.
DocumentRef = tuple[str, str]


class RequestLog:
    """Writes to the indices ``inference-log-...``. `ArchiveError` if the server can't be used."""

    def __init__(self, url: str, settings: Settings, patience: float | None = None) -> None:
        self._http = ElasticsearchHttp(url, "inference-log-*", settings, patience)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def prepare(self) -> None:
        """Write the index template; may be repeated."""

        async def put(client: AsyncElasticsearch) -> None:
            await client.indices.put_index_template(
                name=_TEMPLATE,
                index_patterns=["inference-log-*"],
                priority=50,
                template={
                    # A value whose type differs from the first document's must not be refused.
                    "settings": {"index.mapping.ignore_malformed": True},
                    "mappings": _MAPPINGS,
                },
            )

        await self._http.call("putting the index template", put)

    async def write(self, events: Sequence[Logged]) -> Written:
        """Merge events into the documents of their requests. All are durable on return."""
        ordered = sorted(events, key=lambda one: (one.index_name, one.request_id))
        waiting = [
            list(some) for _, some in groupby(ordered, lambda one: (one.index_name, one.request_id))
        ]
        written = refused = 0
        for _ in range(_MAX_ATTEMPTS):
            if not waiting:
                return Written(written, refused)
            stored = await self._stored(waiting)
            operations: list[Document] = []
            owners: list[tuple[int, DocumentRef, Document]] = []
            for number, group in enumerate(waiting):
                for ref, document in _documents(group, stored):
                    operations += _operation(ref, stored.get(ref), document)
                    owners.append((number, ref, document or {}))
            results = await self._bulk(operations)
            retry: set[int] = set()
            for (number, ref, document), result in zip(owners, results, strict=True):
                if "error" not in result:
                    written += 1
                elif result["status"] in (409, 429, 503):
                    retry.add(number)
                elif await self._write_bare(ref, document):
                    written += 1
                else:
                    refused += 1
                    logger.warning(
                        "document %s of %s is refused: %s",
                        ref[1], ref[0], reason_of(msgspec.json.encode(result)),
                    )  # fmt: skip
            waiting = [waiting[number] for number in sorted(retry)]
        raise ArchiveError(f"{len(waiting)} requests are written by others at the same moment")

    async def _write_bare(self, ref: DocumentRef, document: Document) -> bool:
        """Write a document without the fields that only charts use; False if it is refused too."""
        bare = {
            name: {key: one for key, one in part.items() if key not in ("instance", "elements")}
            if isinstance(part, dict) and name != "outcome"
            else part
            for name, part in document.items()
        }
        (result,) = await self._bulk([{"index": _meta(ref)}, bare])
        return "error" not in result

    async def _stored(self, waiting: Iterable[list[Logged]]) -> dict[DocumentRef, _Stored]:
        """The existing documents of some requests: single ones, and all items of batches."""
        first = {
            (group[0].index_name, name)
            for group in waiting
            for request_id in [group[0].request_id]
            for name in (request_id, f"{request_id}-item-0")
        }
        stored = await self._get(first)
        others = {
            (group[0].index_name, name)
            for group in waiting
            for name in ids(group[0].request_id, _rows(group, stored))
        }
        return stored | await self._get(others - first)

    async def _get(self, refs: Iterable[DocumentRef]) -> dict[DocumentRef, _Stored]:
        wanted = [{"_index": index, "_id": name} for index, name in sorted(refs)]
        if not wanted:
            return {}

        async def get(client: AsyncElasticsearch) -> Document:
            return reply((await client.mget(docs=wanted)).body)

        found = await self._http.call("reading documents", get)
        return {
            (doc["_index"], doc["_id"]): _Stored(
                doc["_source"], doc["_seq_no"], doc["_primary_term"]
            )
            for doc in found.get("docs", ())
            if doc.get("found")
        }

    async def _bulk(self, operations: list[Document]) -> list[Document]:
        if not operations:
            return []

        async def bulk(client: AsyncElasticsearch) -> list[Document]:
            answer = reply((await client.bulk(operations=operations)).body)
            return [next(iter(one.values())) for one in answer.get("items", ())]

        return await self._http.call("writing documents", bulk)


def _rows(group: Sequence[Logged], stored: dict[DocumentRef, _Stored]) -> int:
    """The number of rows of a request: from its documents, else its messages, else its feedback."""
    index, request_id = group[0].index_name, group[0].request_id
    for name in (f"{request_id}-item-0", request_id):
        old = stored.get((index, name))
        rows = rows_of(old.source) if old is not None else 0
        if rows:
            return rows
    # Feedback comes last, since it can have a wrong number of rows.
    return max((one.rows for one in group if one.part != FEEDBACK), default=0) or max(
        (one.rows for one in group), default=0
    )


def _documents(
    group: Sequence[Logged], stored: dict[DocumentRef, _Stored]
) -> Iterable[tuple[DocumentRef, Document | None]]:
    """The changed documents of a request; None means that the document is to be deleted."""
    index, request_id = group[0].index_name, group[0].request_id
    names = ids(request_id, _rows(group, stored))
    single = stored.get((index, request_id))
    # Feedback that arrived before its batch has its own document until the batch arrives.
    early = single.source.get(FEEDBACK) if single is not None and len(names) > 1 else None
    for item, name in enumerate(names):
        old = stored.get((index, name))
        source = dict(old.source) if old is not None else {}
        if early is not None:
            source.setdefault(FEEDBACK, early)
        document = merge(source, group, item)
        if old is None or document != old.source:
            yield (index, name), document
    if early is not None:
        yield (index, request_id), None


def _meta(ref: DocumentRef) -> Document:
    return {"_index": ref[0], "_id": ref[1]}


def _operation(ref: DocumentRef, old: _Stored | None, document: Document | None) -> list[Any]:
    """A bulk operation with optimistic concurrency: it is refused if another writer has changed the
    document since it was read (``if_seq_no``)."""
    meta = _meta(ref)
    if old is not None:
        meta |= {"if_seq_no": old.seq_no, "if_primary_term": old.primary_term}
    if document is None:
        return [{"delete": meta}]
    return [{"index" if old is not None else "create": meta}, document]
