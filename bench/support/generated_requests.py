"""Requests that schemathesis generates from an OpenAPI document, and the failures of their answers."""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

#: Everything that an answer must keep to, whatever the request was.
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_SECONDS = 60


@dataclass
class Answers:
    """The number of answers by path and status, and the failed checks."""

    by_path: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class GeneratedRequests:
    """Sends the requests that schemathesis makes from the document at ``url``, each one ``times``
    times. They are the same every time, unless the ``first_seed`` differs."""

    def __init__(self, url: str, times: int = 1, first_seed: int = 1) -> None:
        self.answers = Answers()
        self._url = url.rstrip("/")
        self._times = times
        self._seed = first_seed
        self._session = requests.Session()

    def send(self, port: str, count: int, paths: Collection[str] = ()) -> Answers:
        """Send about ``count`` requests to the routes of a ``port``, or to these of its ``paths``: as
        many to each route, half of them valid."""
        with self._session:
            document = self._session.get(f"{self._url}/openapi.json", timeout=_SECONDS).json()
            operations = [
                operation
                for each in (document, _with_examples(document))
                for found in schemathesis.openapi.from_dict(each).get_all_operations()
                if isinstance(found, Ok)
                and port in ((operation := found.ok()).definition.raw.get("tags") or ())
                and (not paths or operation.path in paths)
            ]
            size = max(1, count // (2 * len(operations) * self._times))
            for operation in operations:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    # A route without parameters and body has no invalid request.
                    with suppress(Unsatisfiable):
                        self._send(operation, mode, size)
        return self.answers

    def _send(self, operation: Any, mode: GenerationMode, count: int) -> None:
        @seed(self._seed)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(base_url=self._url, session=self._session, timeout=_SECONDS)
            self._note(operation, answer.status_code)
            try:
                case.validate_response(answer, checks=_CHECKS)
            except (Failure, FailureGroup) as failure:
                self.answers.failures.append(f"{operation.label}: {failure}")
            for _ in range(self._times - 1):
                again = self._session.send(answer.request, timeout=_SECONDS)
                self._note(operation, again.status_code)
                if again.status_code != answer.status_code:
                    self.answers.failures.append(f"{operation.label}: now {again.status_code}")

        send()

    def _note(self, operation: Any, status: int) -> None:
        self.answers.by_path[operation.path, str(status)] += 1


def _with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The document with all parameters required and equal to their examples: random names would be
    refused before the body is read."""
    found: dict[str, Any] = deepcopy(document)
    for operations in found["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                parameter |= {"required": True, "schema": {"enum": [parameter.pop("example")]}}
    return found
