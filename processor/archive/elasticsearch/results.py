"""Store results in Elasticsearch: one document per model, period and basis."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from processor.archive.elasticsearch.http import ElasticsearchHttp, reason_of, reply
from processor.archive.stored_result import StoredResult
from processor.domain.results import MeanResult, ModelResult
from processor.domain.type_errors import type_error
from processor.errors import ArchiveError, SettingsError
from processor.settings import Settings

#: The number is the version of the mapping. A field of another type needs a new one. An added field
#: does not: an index that is there stores it, but cannot search it.
INDEX = "model-metrics-v2"
_PATTERN, _TEMPLATE = "model-metrics-*", "model-metrics"
_PRIVILEGES = "manage_index_templates on the cluster, and read, index and create_index"
#: Bytes of documents per bulk request, and documents per search.
_BULK, _PAGE = 4 << 20, 200
#: Seconds to wait for a server that is busy or away.
_PATIENCE = 60.0

_KEYWORD, _LONG, _DOUBLE = {"type": "keyword"}, {"type": "long"}, {"type": "double"}
_TIME = {"type": "date_nanos"}
#: Labels are arbitrary text: as field names they would grow the mapping without bound.
_UNSEARCHED = {"type": "object", "enabled": False}
#: By the type of a field of `ModelResult`; fields of all other types are not searched.
_BY_TYPE: dict[Any, dict[str, Any]] = {
    **dict.fromkeys((str, str | None), _KEYWORD),
    **dict.fromkeys((int, int | None), _LONG),
    **dict.fromkeys((float, float | None), _DOUBLE),
    MeanResult: {"properties": dict.fromkeys(MeanResult.__struct_fields__, _DOUBLE)},
}
_MAPPINGS: dict[str, Any] = {
    "dynamic": False,
    "properties": {
        **dict.fromkeys(("key", "by"), _KEYWORD),
        **dict.fromkeys(("from", "to", "as_of", "stored_at"), _TIME),
        **{
            field.encode_name: _BY_TYPE.get(field.type, _UNSEARCHED)
            for field in msgspec.structs.fields(ModelResult)
        },
    },
}


class ResultStore:
    """Results in the Elasticsearch that PROCESSOR_ARCHIVE names. Its methods raise `ArchiveError`;
    `SettingsError` if PROCESSOR_ARCHIVE is not Elasticsearch."""

    def __init__(self, settings: Settings) -> None:
        if not settings.elasticsearch:
            raise SettingsError(
                "stored results are in the Elasticsearch of PROCESSOR_ARCHIVE, which is "
                f"{settings.archive or 'not set'}: set it to http(s)://host:port"
            )
        self._http = ElasticsearchHttp(settings.archive, _PATTERN, settings, _PATIENCE, _PRIVILEGES)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def write(self, results: Iterable[StoredResult]) -> None:
        """Write results; each replaces an older one with the same key."""
        await self._http.call(
            "writing the index template of results",
            lambda client: client.indices.put_index_template(
                name=_TEMPLATE,
                index_patterns=[_PATTERN],
                priority=200,
                template={
                    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1"},
                    "mappings": _MAPPINGS,
                },
            ),
        )
        for documents in _bulks(results):
            answer = reply(
                (
                    await self._http.call(
                        "writing results",
                        lambda client, body=documents: client.bulk(  # type: ignore[misc]
                            index=INDEX, operations=body, refresh=True
                        ),
                    )
                ).body
            )
            for item in answer.get("items", ()):
                if "error" in item.get("index", {}):
                    raise ArchiveError(
                        f"Elasticsearch at {self._http.address} refuses a result: "
                        f"{reason_of(msgspec.json.encode(item['index']))}"
                    )

    async def read(
        self, by: str = "", namespace: str = "", deployment: str = ""
    ) -> list[StoredResult]:
        """The results of a basis, namespace and deployment; an empty argument selects all. Sorted by
        the model's names, basis and period."""
        terms = {"by": by, "namespace": namespace, "deployment": deployment}
        query = {
            "bool": {"filter": [{"term": {name: value}} for name, value in terms.items() if value]}
        }
        found: list[StoredResult] = []
        after: list[Any] | None = None
        while True:
            answer = await self._http.call(
                "reading results",
                lambda client, after=after: client.search(  # type: ignore[misc]
                    index=_PATTERN,
                    query=query,
                    sort=[{"key": {"order": "asc", "unmapped_type": "keyword"}}],
                    size=_PAGE,
                    search_after=after,
                    ignore_unavailable=True,
                    allow_no_indices=True,
                ),
            )
            hits = reply(answer.body).get("hits", {}).get("hits", [])
            found += [self._parse(hit) for hit in hits]
            if len(hits) < _PAGE:
                return sorted(found, key=_order)
            after = hits[-1]["sort"]

    def _parse(self, hit: dict[str, Any]) -> StoredResult:
        source = hit.get("_source")
        try:
            result = msgspec.convert(source, ModelResult)
            return msgspec.convert({**(source or {}), "result": result}, StoredResult)
        except msgspec.ValidationError as error:
            raise ArchiveError(
                f"document {hit.get('_id')!r} of {hit.get('_index')!r} is not a result of the "
                f"processor ({type_error(error)}): remove it, and keep other programs from writing "
                f"to {_PATTERN}"
            ) from None


def _order(stored: StoredResult) -> tuple[str, ...]:
    model = stored.result
    names = (model.namespace, model.deployment, model.predictor, model.model)
    return (*names, stored.by, stored.from_ or "", stored.to or "")


def _bulks(results: Iterable[StoredResult]) -> Iterator[Sequence[dict[str, Any]]]:
    """The lines of bulk requests, each request about `_BULK` bytes at most."""
    lines: list[dict[str, Any]] = []
    size = 0
    for stored in results:
        document: dict[str, Any] = msgspec.to_builtins(stored)
        document |= document.pop("result")
        document["key"] = stored.key
        lines += [{"index": {"_id": stored.key}}, document]
        size += len(msgspec.json.encode(document))
        if size > _BULK:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
