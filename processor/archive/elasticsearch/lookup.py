"""Finding the documents of requests."""

from typing import Any

import msgspec

from processor.archive.base import Held, RequestKey
from processor.domain.events.documents import SOURCE_FIELDS, Document, DocumentReader

#: Requests of one search.
LOOKUP = 200
#: Predictors that can answer one request: its documents at most, but for a batch's.
_PREDICTORS = 20


def by_id(ids: list[str]) -> dict[str, Any]:
    """A search for the documents that have a request id for their own."""
    return {
        "query": {"ids": {"values": ids}},
        "size": len(ids) * _PREDICTORS,
        "_source": [*SOURCE_FIELDS, "outcome"],
    }


def one_of_each(ids: list[str]) -> dict[str, Any]:
    """A search for one document with an answer by request, deployment and predictor: of a batch one
    that shows an outcome, if any of its documents does."""
    inner: dict[str, Any] = {
        "one": {
            "top_hits": {
                "size": 1,
                "_source": {"includes": [*SOURCE_FIELDS, "outcome"]},
            }
        }
    }
    for field in ("Ce-Endpoint", "Ce-Inferenceservicename", "Ce-Namespace"):
        terms = {"field": field, "size": _PREDICTORS, "missing": ""}
        inner = {"by": {"terms": terms, "aggs": inner}}
    return {
        "query": {
            "bool": {
                "filter": [
                    {"terms": {"RequestId": ids}},
                    {"exists": {"field": "response.ce-time"}},
                ],
                # It makes the score, and the best is what `top_hits` gives.
                "should": [{"exists": {"field": "outcome.correct"}}],
            }
        },
        "size": 0,
        "aggs": {"by": {"terms": {"field": "RequestId", "size": len(ids)}, "aggs": inner}},
    }


#: A search for the predictors of every deployment, two of each at most.
PREDICTORS: dict[str, Any] = {
    "size": 0,
    "track_total_hits": False,
    "aggs": {
        "namespaces": {
            "terms": {"field": "Ce-Namespace", "size": 1000, "missing": ""},
            "aggs": {
                "deployments": {
                    "terms": {"field": "Ce-Inferenceservicename", "size": 10_000, "missing": ""},
                    "aggs": {
                        "predictors": {"terms": {"field": "Ce-Endpoint", "size": 2, "missing": ""}}
                    },
                }
            },
        }
    },
}


def multi_predictor(answer: dict[str, Any]) -> frozenset[tuple[str, str]] | None:
    """The deployments with more than one predictor, from an answer to `PREDICTORS`; None if it is
    none, or shows not all of them. A field that is not indexed looks like one that no document has."""
    try:
        namespaces = answer["aggregations"]["namespaces"]
        if namespaces["sum_other_doc_count"]:
            return None
        found = set()
        for namespace in namespaces["buckets"]:
            deployments = namespace["deployments"]
            if deployments["sum_other_doc_count"] or not namespace["key"]:
                return None
            for deployment in deployments["buckets"]:
                if not deployment["key"]:
                    return None
                predictors = [bucket["key"] for bucket in deployment["predictors"]["buckets"]]
                if len(predictors) != 1 or not predictors[0]:
                    found.add((namespace["key"], deployment["key"]))
    except (KeyError, TypeError):
        return None
    return frozenset(found)


class Source(msgspec.Struct):
    """Whose a document is, and what it shows."""

    request_id: Any = msgspec.field(name="RequestId", default=None)
    namespace: Any = msgspec.field(name="Ce-Namespace", default=None)
    deployment: Any = msgspec.field(name="Ce-Inferenceservicename", default=None)
    response: Any = None
    outcome: Any = None

    @property
    def request(self) -> RequestKey:
        """Empty names where it can't be told."""
        names = (self.namespace, self.deployment, self.request_id)
        return RequestKey(*(name if isinstance(name, str) else "" for name in names))


_decode_source = msgspec.json.Decoder(Source).decode


def source_of(document: Document) -> Source:
    """Empty where it can't be read."""
    try:
        return _decode_source(document.source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Source()


def held_of(document: Document, source: Source, reader: DocumentReader) -> Held:
    """What a document says of its request."""
    observations = list(reader.read(document).observations)
    return Held(source.request, observations, source.outcome is not None)
