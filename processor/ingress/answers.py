"""What the HTTP door answers: always JSON, so nothing that came in is ever shown as a page."""

import math
from collections.abc import Sequence

import msgspec
from aiohttp import web

from processor.domain.events.raw_event import DeadLetter
from processor.domain.timestamps import format_time

#: Rejected events of a batch that an answer lists.
_MAX_LISTED = 100


class Refusal(Exception):
    """A request that is answered with an error: ``reason`` for programs, the text for people."""

    def __init__(
        self, status: int, reason: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = headers or {}

    @classmethod
    def again(cls, status: int, reason: str, detail: str, seconds: float) -> "Refusal":
        """With Retry-After."""
        return cls(status, reason, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})

    def closing(self) -> "Refusal":
        """The same, and the connection ends with it."""
        self.headers["Connection"] = "close"
        return self

    def answer(self) -> web.Response:
        """The response."""
        return error(self.status, self.reason, str(self), self.headers)


def wants_event(prefer: str) -> bool:
    """Whether the Prefer header of a request says that the answer's body is taken for an event.
    Knative's dispatchers send it, and take any other body for a failure: 502, and all over again.

    >>> wants_event("respond-async, Reply"), wants_event("return=minimal")
    (True, False)
    """
    return any(part.strip().lower() == "reply" for part in prefer.split(","))


def verdicts(
    of: Sequence[DeadLetter | None], time: int, status: int = 400, is_empty: bool = False
) -> web.Response:
    """202 if any event was understood, or there was none; else ``status``. ``time`` is that of
    acceptance. What was not understood is listed by its place in the batch. ``is_empty``: a 202 has
    no body, and the time alone in a header."""
    rejected = [
        {"index": index, "reason": verdict.reason, "detail": verdict.detail}
        for index, verdict in enumerate(of)
        if verdict is not None
    ]
    body = {"accepted": len(of) - len(rejected), "time": format_time(time)}
    if rejected:
        body |= {"rejected": len(rejected), "rejections": rejected[:_MAX_LISTED]}
    if rejected and len(rejected) == len(of):
        first = {key: rejected[0][key] for key in ("reason", "detail")}
        return _json(status, first | body, {})
    if is_empty:
        return web.Response(status=202, headers={"Processor-Time": format_time(time)})
    return _json(202, body, {})


def error(status: int, reason: str, detail: str, headers: dict[str, str]) -> web.Response:
    """An error as every route tells it."""
    return _json(status, {"reason": reason, "detail": detail}, headers)


def _json(status: int, body: dict[str, object], headers: dict[str, str]) -> web.Response:
    response = web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=headers,
    )
    if "Connection" in headers:
        response.force_close()
    return response
