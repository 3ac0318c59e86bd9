"""The content of a savepoint as text and as JSON."""

import msgspec

from processor.domain.savepoint.contents import End, Header
from processor.domain.timestamps import format_time


class ModelSummary(msgspec.Struct):
    """The counts of all time of a model."""

    namespace: str
    deployment: str
    predictor: str
    model: str
    predictions: int
    judged: int
    correct: int
    rewards: int


class Summary(msgspec.Struct, omit_defaults=False):
    """The content of a savepoint. Times are RFC 3339, ``horizon`` is in seconds; ``seconds`` is how
    long it took to save or load, None if it was only read."""

    id: str
    app: str
    product: str
    schema: int
    taken_at: str | None
    horizon: int
    partitions: int
    bytes: int
    requests: int
    fingerprints: int
    models: list[ModelSummary]
    sources: dict[str, int]
    buckets: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, header: Header, end: End, size: int, seconds: float | None = None) -> "Summary":
        """Summarize a savepoint by its first and last block and its size in bytes."""
        models = [
            ModelSummary(*each.model, each.predictions, each.judged, each.correct, each.rewards)
            for each in end.models
        ]
        sources: dict[str, int] = {}
        for source in header.sources:
            if source.group == "source":
                sources[f"{source.topic}/{source.partition}"] = source.offset
        return cls(
            header.id,
            header.app,
            header.product,
            header.schema,
            format_time(header.taken_at),
            header.horizon,
            header.partitions,
            size,
            end.requests,
            end.fingerprints,
            models,
            sources,
            seconds=None if seconds is None else round(seconds, 1),
        )


def summary_text(summary: Summary) -> str:
    """The summary as lines for people."""
    lines = [
        f"app           {summary.app}",
        f"taken at      {summary.taken_at}",
        f"release       {summary.product}, schema {summary.schema}",
        f"horizon       {summary.horizon} s, {summary.partitions} partitions",
        f"size          {summary.bytes:,} bytes",
        f"requests      {summary.requests:,} in memory, {summary.fingerprints:,} counted and not kept",
    ]
    if summary.buckets is not None:
        lines.append(f"counts        {summary.buckets:,} buckets beside the requests")
    for place, offset in summary.sources.items():
        lines.append(f"source        {place} from {offset:,}")
    for one in summary.models:
        name = "/".join((one.namespace, one.deployment, one.predictor, one.model))
        lines.append(
            f"model         {name}: {one.predictions:,} predictions, {one.judged:,} judged, "
            f"{one.correct:,} correct"
        )
    return "\n".join(lines)


def done_text(what: str, summary: Summary) -> str:
    """One line on a savepoint that was saved or loaded."""
    return (
        f"{what}: {summary.requests:,} requests, {len(summary.models):,} models, "
        f"{summary.bytes:,} bytes in {summary.seconds} s (taken at {summary.taken_at})"
    )
