"""A replay's result as JSON or text, to a file or standard output."""

import os
import sys
from pathlib import Path

import msgspec

from processor.domain.results import Events, ModelResult, Replay
from processor.errors import ProcessorError

FORMATS = ("json", "text")


def render(result: Replay, style: str) -> str:
    """The result in one of `FORMATS`."""
    if style == "json":
        return msgspec.json.format(msgspec.json.encode(result), indent=1).decode() + "\n"
    lines = [_text(model) for model in result.models] or ["no predictions"]
    return "\n".join([*lines, _events(result.events)]) + "\n"


def _events(events: Events) -> str:
    """What became of the events, without the zeros: what was not understood must show."""
    counts = msgspec.structs.asdict(events)
    by_reason = {
        "not_scorable": counts.pop("not_scorable"),
        "dead_letters": counts.pop("dead_letters"),
    }
    parts = [f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if n or name == "read"]
    for name, reasons in by_reason.items():
        parts += [f"{name.replace('_', ' ')} {reason} {n}" for reason, n in reasons.items()]
    return "events: " + ", ".join(parts)


def _text(model: ModelResult) -> str:
    def ratio(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    lines = [
        f"{model.namespace}/{model.deployment}/{model.predictor}/{model.model}",
        f"  predictions {_count(model.predictions)}  judged {model.judged}  "
        f"correct {model.correct}  unknown actual {model.unknown_actual}  "
        f"coverage {ratio(model.coverage)}",
        f"  accuracy {ratio(model.accuracy)} "
        f"[{ratio(model.accuracy_low)}, {ratio(model.accuracy_high)}]  "
        f"macro F1 {ratio(model.macro.f1)}  MCC {ratio(model.mcc)}",
        f"  rewards {model.rewards}  mean {ratio(model.reward_mean)}  "
        f"disagreements {model.disagreements}",
    ]
    lines += [
        f"  {label}: precision {ratio(c.precision)}  recall {ratio(c.recall)}  "
        f"specificity {ratio(c.specificity)}  F1 {ratio(c.f1)}  support {c.support}"
        for label, c in model.classes.items()
    ]
    lines += [
        f"  actual {cell.actual} predicted {cell.predicted}: {cell.count}"
        for cell in model.confusion
    ]
    return "\n".join(lines)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def write_output(text: str, path: Path | None) -> None:
    """Write whole or not at all: an interrupted write leaves no half file."""
    if path is None:
        sys.stdout.write(text)
        return
    path = path.resolve()
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe must stay one.
            path.write_text(text, encoding="utf-8")
            return
    except OSError as error:
        raise ProcessorError(f"{path} can't be written: {error.strerror or error}") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ProcessorError(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
