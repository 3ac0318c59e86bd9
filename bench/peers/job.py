"""The job of the Python peers: read an event, update the row of its request, count the changes.

It needs the standard library alone, since some peers run in environments of their own. Rows and
observations are lists, so that any store's serializer takes them.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

#: [time, labels of the rows, model]: a prediction has a model, a feedback "". There are no labels
#: where the feedback says that the prediction was right.
Observation = list[Any]

#: [time of prediction, model, predicted labels, time of feedback, actual labels]; times and model are
#: "" until known.
Row = list[Any]

#: (model, minute, actual, predicted); the two labels are "" where predicted rows are counted.
Cell = tuple[str, str, str, str]
Change = tuple[Cell, int]

_EMPTY: Row = ["", "", [], "", []]


def is_observation(headers: Mapping[str, bytes]) -> bool:
    """Whether an event says anything: that of a request alone does not."""
    return not headers["ce_type"].endswith(b".request")


def request_id(headers: Mapping[str, bytes]) -> bytes:
    """The id of the request; on KServe it is that of the event."""
    return headers.get("ce_requestid") or headers["ce_id"]


def observation(headers: Mapping[str, bytes], body: Any) -> Observation:
    """What a prediction or a feedback says."""
    time = headers["ce_time"].decode()
    if headers["ce_type"].endswith(b".response"):
        return [time, _labels(body), headers["ce_inferenceservicename"].decode()]
    return [time, _labels(body["truth"]) if "truth" in body else [], ""]


def _labels(message: Any) -> list[str]:
    """The label of each row of Seldon's `ndarray` or of the Open Inference Protocol's output."""
    if "outputs" in message:
        output = message["outputs"][0]
        values, rows = output["data"], output["shape"][0]
        width = len(values) // rows
        return [_label(values[row * width : (row + 1) * width], None) for row in range(rows)]
    if "data" not in message:
        return []
    names = message["data"].get("names")
    return [_label(row, names) for row in message["data"]["ndarray"]]


def _label(row: list[float], names: list[str] | None) -> str:
    """The class of several scores, the side of a probability, or an integer as it stands."""
    if len(row) > 1:
        position = row.index(max(row))
        return names[position] if names else str(position)
    (value,) = row
    return str(value) if isinstance(value, int) else "1" if value >= 0.5 else "0"


def joined(before: Row | None, seen: Observation) -> Row | None:
    """The request's row with this in it; None when it is a repetition or older."""
    row = before or _EMPTY
    time, labels, model = seen
    if model:
        return [time, model, labels, *row[3:]] if time > row[0] else None
    return [*row[:3], time, labels] if time > row[3] else None


def changes(before: Row | None, after: Row) -> list[Change]:
    """What moves in the counts when a row changes."""
    moved: dict[Cell, int] = {}
    for row, sign in ((before or _EMPTY, -1), (after, 1)):
        for cell, count in _counts(row):
            moved[cell] = moved.get(cell, 0) + sign * count
    return [(cell, change) for cell, change in moved.items() if change]


def _counts(row: Row) -> Iterator[Change]:
    """Where the rows of a request count."""
    predicted_at, model, predicted, judged_at, actual = row
    if not predicted_at:
        return
    minute = predicted_at[:16]
    yield (model, minute, "", ""), len(predicted)
    if judged_at:
        for pair in zip(actual or predicted, predicted, strict=True):
            yield (model, minute, *pair), 1


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
