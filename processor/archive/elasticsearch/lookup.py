"""Searches for the documents of requests, and for deployments with several predictors."""

from typing import Any

from processor.domain.events.documents import SOURCE_FIELDS

#: Requests per search.
LOOKUP = 200
#: The largest number of predictors that answer one request: each adds a document.
_PREDICTORS = 20


def by_id(ids: list[str]) -> dict[str, Any]:
    """The search for documents whose own id is a request id."""
    return {
        "query": {"ids": {"values": ids}},
        "size": len(ids) * _PREDICTORS,
        "_source": [*SOURCE_FIELDS, "outcome"],
    }


def one_of_each(ids: list[str]) -> dict[str, Any]:
    """The search for one document with a prediction per request, deployment and predictor: in a batch
    a document that shows an outcome, if there is one."""
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
                # Documents with an outcome get a higher score, and `top_hits` returns the highest.
                "should": [{"exists": {"field": "outcome.correct"}}],
            }
        },
        "size": 0,
        "aggs": {"by": {"terms": {"field": "RequestId", "size": len(ids)}, "aggs": inner}},
    }


#: The search for the predictors of every deployment, at most two each.
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
    """The deployments (namespace, name) with more than one predictor, from the response to
    `PREDICTORS`; None if it is not a whole response. A field that is not indexed looks like a field
    that no document has, so an empty name means None too."""
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
