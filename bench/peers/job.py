"""The job of the Python peers: read an event, update the row of its request, count the changes.

It needs the standard library alone, since some peers run in environments of their own. Rows and
observations are lists, so that any store's serializer takes them.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

#: [time, label, model]: a prediction has a model, a feedback "". The label is "" where the
#: feedback says that the prediction was right.
Observation = list[str]

#: [time of prediction, model, predicted, time of feedback, actual], each "" until known.
Row = list[str]

#: (model, minute, actual, predicted); the two labels are "" where a prediction is counted.
Cell = tuple[str, str, str, str]
Change = tuple[Cell, int]

_EMPTY: Row = ["", "", "", "", ""]


def observation(headers: Mapping[str, bytes], body: Any) -> Observation:
    time = headers["ce_time"].decode()
    if headers["ce_type"].endswith(b".response"):
        return [time, _largest(body["data"]), headers["ce_inferenceservicename"].decode()]
    truth = body["truth"].get("data")
    return [time, _largest(truth) if truth else "", ""]


def _largest(data: Any) -> str:
    scores = data["ndarray"][0]
    name: str = data["names"][scores.index(max(scores))]
    return name


def joined(before: Row | None, seen: Observation) -> Row | None:
    """The request's row with this in it; None when it is a repetition or older."""
    row = before or _EMPTY
    time, label, model = seen
    if model:
        return [time, model, label, *row[3:]] if time > row[0] else None
    return [*row[:3], time, label] if time > row[3] else None


def changes(before: Row | None, after: Row) -> list[Change]:
    """What moves in the counts when a row changes."""
    found = []
    for place in (_predicted, _judged):
        old, new = place(before or _EMPTY), place(after)
        if old != new:
            found += [(cell, sign) for cell, sign in ((old, -1), (new, 1)) if cell is not None]
    return found


def _predicted(row: Row) -> Cell | None:
    return (row[1], row[0][:16], "", "") if row[0] else None


def _judged(row: Row) -> Cell | None:
    return (row[1], row[0][:16], row[4] or row[2], row[2]) if row[0] and row[3] else None


class Shown:
    """Events and counts as the benchmark asks for them over HTTP."""

    def __init__(self) -> None:
        self.events = 0
        self.counts: dict[Cell, int] = {}

    def add(self, moved: Iterable[Change]) -> None:
        for cell, change in moved:
            self.counts[cell] = self.counts.get(cell, 0) + change

    def metrics(self) -> str:
        return f"processor_events_total {self.events}\n"

    def models(self) -> dict[str, Any]:
        """May be called in another thread than `add`."""
        models: dict[str, dict[tuple[str, str], int]] = {}
        for (model, _, actual, predicted), count in self.counts.copy().items():
            cells = models.setdefault(model, {})
            cells[actual, predicted] = cells.get((actual, predicted), 0) + count
        return {"models": [_model(name, cells) for name, cells in models.items()]}

    def serve(self, port: int) -> None:
        """Answer on a loopback port, from a thread."""
        shown = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metrics = self.path == "/metrics"
                body = (shown.metrics() if metrics else json.dumps(shown.models())).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing: a line per request would only cost time."""

        server = HTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def _model(name: str, cells: dict[tuple[str, str], int]) -> dict[str, Any]:
    predictions = cells.pop(("", ""), 0)
    confusion = [
        {"actual": actual, "predicted": predicted, "count": count}
        for (actual, predicted), count in cells.items()
        if count
    ]
    return {
        "namespace": "seldon",
        "deployment": name,
        "predictions": predictions,
        "judged": sum(cells.values()),
        "correct": sum(
            count for (actual, predicted), count in cells.items() if actual == predicted
        ),
        "confusion": confusion,
    }
