"""The same job as most would first write it in Faust: `group_by`, then a table write per event.

It is right for one worker, and that is checked. It is also spared some of what the processor
does: the confusion counts are plain memory, and no event is ever refused or expired.
"""

import argparse
import json
import sys
import uuid
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import faust

from .load import Expected
from .measure import Run, child, clocked

_GROUP = "by-request"


def internal_topics(app_id: str, topic: str) -> list[str]:
    """What Faust would make itself, too late: it ignores a topic missing when it subscribes."""
    return [f"{topic}-{_GROUP}-repartition", f"{app_id}-requests-changelog"]


def build(app_id: str, bootstrap: str, topic: str, port: int, folder: Path) -> Any:
    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=str(folder),
        topic_partitions=8,
        topic_replication_factor=1,
        table_standby_replicas=0,
        web_host="127.0.0.1",
        web_port=port,
        # The same fetches, polls and batches as for the other systems.
        consumer_max_fetch_size=4 * 1024 * 1024,
        broker_max_poll_records=5_000,
        producer_linger=0.05,
        producer_max_batch_size=256 * 1024,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topic, key_type=bytes, value_serializer="json")
    requests = app.Table("requests", key_type=bytes, default=dict)
    counts: Counter[tuple[str, int, str, str]] = Counter()
    predictions: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def request_id(_: Any) -> bytes:
        seen["events"] += 1
        identity: bytes = faust.current_event().headers["ce_requestid"]
        return identity

    async def join(stream: Any) -> None:
        async for event in stream.group_by(request_id, name=_GROUP).events():
            headers = {name: value.decode() for name, value in event.headers.items()}
            before = requests[event.key]
            after = _joined(before, headers, event.value)
            requests[event.key] = after
            if "predicted" in after and "predicted" not in before:
                predictions[after["model"]] += 1
            if (old := _cell(before)) != (new := _cell(after)):
                if old is not None:
                    counts[old] -= 1
                if new is not None:
                    counts[new] += 1

    async def metrics(web: Any, _: Any) -> Any:
        return web.text(f"processor_events_total {seen['events']}\n")

    async def models(web: Any, _: Any) -> Any:
        shown = [_model(name, number, counts) for name, number in predictions.items()]
        return web.json({"models": shown})

    app.agent(source)(join)
    app.page("/metrics")(metrics)
    app.page("/api/models")(models)
    return app


def _joined(before: dict[str, Any], headers: dict[str, str], body: Any) -> dict[str, Any]:
    """The request's row with this event in it: the greatest time wins on each side."""
    after = dict(before)
    time = headers["ce_time"]
    if headers["ce_type"].endswith(".response"):
        data = body["data"]
        scores = data["ndarray"][0]
        after["model"] = headers["ce_inferenceservicename"]
        after["predicted"] = data["names"][scores.index(max(scores))]
        after["minute"] = int(datetime.fromisoformat(time[:19] + "Z").timestamp()) // 60
    elif time > before.get("judged_at", ""):
        after["judged_at"] = time
        truth = body["truth"].get("data")
        # None: the reward says that the prediction was right.
        after["actual"] = truth["names"][truth["ndarray"][0].index(1)] if truth else None
    return after


def _cell(row: dict[str, Any]) -> tuple[str, int, str, str] | None:
    if "predicted" not in row or "judged_at" not in row:
        return None
    return row["model"], row["minute"], row["actual"] or row["predicted"], row["predicted"]


def _model(name: str, predictions: int, counts: Counter[tuple[str, int, str, str]]) -> Any:
    cells: Counter[tuple[str, str]] = Counter()
    for (model, _, actual, predicted), count in counts.items():
        if model == name and count:
            cells[actual, predicted] += count
    return {
        "namespace": "seldon",
        "deployment": name,
        "predictions": predictions,
        "judged": cells.total(),
        "correct": sum(n for (actual, predicted), n in cells.items() if actual == predicted),
        "confusion": [
            {"actual": actual, "predicted": predicted, "count": count}
            for (actual, predicted), count in cells.items()
        ],
    }


def run(
    bootstrap: str, topic: str, app_id: str, port: int, events: int, expected: Expected,
    folder: Path,
) -> Run:  # fmt: skip
    """Measure it in a process of its own; its internal topics must exist."""
    log = folder / "naive.log"
    options = json.dumps([app_id, bootstrap, topic, port, str(folder)])
    with child([sys.executable, "-m", "bench.naive_faust", options], log) as process:
        url = f"http://127.0.0.1:{port}"
        # A tenth of the slowest rate seen; it is there to end, not to judge.
        return clocked("naive", events, expected, process, url, log, 60 + events / 100)


def fresh_app_id() -> str:
    return f"naive-{uuid.uuid4().hex[:12]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("options", help="JSON: [app id, bootstrap, topic, web port, data folder]")
    app_id, bootstrap, topic, port, folder = json.loads(parser.parse_args().options)
    app = build(app_id, bootstrap, topic, port, Path(folder))
    faust.Worker(app, loglevel="WARN").execute_from_commandline()


if __name__ == "__main__":
    main()
