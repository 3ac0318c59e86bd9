"""The responses of the HTTP ingress: always JSON, so that no browser renders received content."""

import math
from collections.abc import Mapping, Sequence

import msgspec
from aiohttp import web

from processor.domain.events.raw_event import DeadLetter
from processor.domain.timestamps import format_time

#: The largest number of a batch's rejected events that a response lists.
_MAX_LISTED = 100


class JsonResponse(web.Response):
    """A response in JSON. ``code`` is the reason of an error, for the metrics; empty for others."""

    code = ""


class Refusal(Exception):
    """A request that is refused with an error: ``reason`` for programs, the message for people."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    @classmethod
    def retry(cls, status: int, reason: str, detail: str, seconds: float) -> "Refusal":
        """A refusal with the header Retry-After: the client should repeat the request after some
        seconds."""
        return cls(status, reason, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})

    def closing(self) -> "Refusal":
        """This refusal, with the connection closed after the response."""
        self.headers["Connection"] = "close"
        return self

    def answer(self) -> web.Response:
        """The HTTP response of this refusal."""
        return error(self.status, self.reason, str(self), self.headers)


def wants_event(prefer: str) -> bool:
    """Whether a request's Prefer header says that the client reads the response's body as an event.
    Knative's dispatchers send it, and treat any other body as a failure: 502, and a retry.

    >>> wants_event("respond-async, Reply"), wants_event("return=minimal")
    (True, False)
    """
    return any(part.strip().lower() == "reply" for part in prefer.split(","))


def verdicts(
    results: Sequence[DeadLetter | None],
    time: int,
    status: int = 400,
    omit_body: bool = False,
    more: Mapping[str, object] | None = None,
) -> web.Response:
    """The response to a request whose events have these results: None, or a dead letter.

    It is 202 if any event was accepted, or there was none, else ``status``. ``time`` is the time of
    acceptance (ns). Rejected events are listed by their position in the batch. With ``omit_body`` a
    202 has no body, and the time in a header. ``more`` are further members of the response.
    """
    rejected = [
        {"index": index, "reason": letter.reason, "detail": letter.detail}
        for index, letter in enumerate(results)
        if letter is not None
    ]
    body: dict[str, object] = {"accepted": len(results) - len(rejected), "time": format_time(time)}
    body |= more or {}
    if rejected:
        body |= {"rejected": len(rejected), "rejections": rejected[:_MAX_LISTED]}
    if rejected and len(rejected) == len(results):
        first = {key: rejected[0][key] for key in ("reason", "detail")}
        return _json(status, first | body, {})
    if omit_body:
        return web.Response(status=202, headers={"Processor-Time": format_time(time)})
    return _json(202, body, {})


def error(
    status: int,
    reason: str,
    detail: str,
    headers: dict[str, str],
    more: Mapping[str, object] | None = None,
) -> web.Response:
    """An error response, in the form that all routes use."""
    return _json(status, {"reason": reason, "detail": detail, **(more or {})}, headers)


def reason_of(response: web.StreamResponse) -> str:
    """The reason of an error response, empty for any other response."""
    return response.code if isinstance(response, JsonResponse) else ""


def _json(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    response = JsonResponse(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=headers,
    )
    if "Connection" in headers:
        response.force_close()
    response.code = str(body.get("reason", ""))
    return response
