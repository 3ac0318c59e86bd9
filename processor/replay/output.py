"""A replay's result as JSON or text, to a file or standard output."""

import os
import sys
from pathlib import Path

import msgspec

from processor.domain.results import ModelResult, Replay
from processor.errors import ProcessorError

FORMATS = ("json", "text")


def render(result: Replay, style: str) -> str:
    """The result in one of `FORMATS`."""
    if style == "json":
        return msgspec.json.format(msgspec.json.encode(result), indent=1).decode() + "\n"
    return "\n".join(map(_text, result.models)) + "\n" if result.models else "no predictions\n"


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ProcessorError(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
