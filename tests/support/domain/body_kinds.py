"""Bodies of every kind in JSON, with values that differ each time; and models files for them."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Rules by deployment: what the native decoder must know of the models file, and what it must not.
MODELS: dict[str, list[dict[str, Any]]] = {
    "models": [
        {"match": "ns/binary", "threshold": 0.3, "classes": ["ham", "spam"]},
        {"match": "ns/mapped", "labels": {"0": "no", "1": "yes", "cat": "dog"}},
        {"match": "ns/regression", "task": "regression", "unit": 0.01, "tolerance": 0.5},
        {"match": "ns/mapped-regression", "task": "regression", "labels": {"1": "one"}},
        {"match": "ns/whole-units", "task": "regression", "unit": 1},
        {"match": "ns/thousands", "task": "regression", "unit": 1000},
        {"match": "ns/multilabel", "task": "multilabel"},
        {"match": "ns/classes", "task": "classification", "classes": ["a", "b", "c"]},
        {"match": "ns/scores", "output": "scores"},
        {"match": "ns/probability", "output": "probability", "threshold": 0.7},
        {"match": "ns/label", "output": "label"},
        {"match": "ns/named", "output_name": "proba", "judge_by": "reward"},
        {"match": "ns/hidden", "exclude": True},
        {"match": "ns/by-body", "request_id": "body"},
    ]
}
DEPLOYMENTS = ("plain", *(str(each["match"]).partition("/")[2] for each in MODELS["models"]))

#: Numbers that readers stumble over.
ODD_NUMBERS = (
    "-0", "-0.0", "0", "1", "1.0", "1e0", "0.5", "0.3", "0.7", "2e-324", "5e-324", "1e-400", "1E400",
    "-1e400", "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740992.0",
    "-9007199254740993", "12345678901234567890", "1" + "0" * 40, "1e12", "1e18", "1000000000000.5",
    "1e-7", "0.0000005", "0.00000149999999999999999999", "0.1" + "0" * 40 + "1", "0.005", "0.015",
    "7.62939453125e-06", "0.9999923706054688", "0.99999237060546875", "NaN", "01", "1.", "true",
)  # fmt: skip
CONFIDENCES = ("score", "confidence", "probability")
TEXTS = ("cat", "dog", "", "1", "0.9", "0.9:1:cat", "{}", "a b", "x" * 300)


class Writer:
    """Writes rows and bodies from a source of chance. ``odd`` is the part of odd values; a sender that
    is not ``varied`` writes messages of a kind in one form. ``free`` is the part of labels that hardly
    ever come again."""

    def __init__(
        self, rng: random.Random, odd: float = 0.0, varied: bool = True, free: float = 0.5
    ) -> None:
        self.rng = rng
        self.odd = odd
        self.varied = varied
        self.free = free

    def form(self, *forms: T) -> T:
        """One of several forms of the same."""
        return self.rng.choice(forms) if self.varied else forms[0]

    def label(self) -> str:
        """A label, some of them as long as labels can be, and longer."""
        rng = self.rng
        if rng.random() < self.odd:
            return rng.choice(TEXTS)
        if rng.random() >= self.free:
            return rng.choice(TEXTS[:2])
        text = f"{rng.choice(('label-', 'Größe ', '2', '猫'))}{rng.randrange(10**6)}"
        return text + "é" * rng.randrange(120, 125) if rng.random() < 0.05 else text

    def number(self, kind: str) -> str:
        """A number of a kind, in one of the forms in which numbers are written."""
        rng = self.rng
        if rng.random() < self.odd:
            return rng.choice(ODD_NUMBERS)
        if kind == "integer":
            return str(rng.randrange(-3, 20))
        number = rng.random() if kind == "probability" else rng.gauss(0, 30)
        return rng.choice((repr, "{:.3f}".format, "{:.9e}".format, "{:.17f}".format))(number)

    def scores(self, width: int, kind: str = "probability") -> list[str]:
        """Scores of all classes: probabilities, or any numbers."""
        rng = self.rng
        if kind == "one-hot":
            found = ["0"] * width
            found[rng.randrange(width)] = rng.choice(("1", "1.0"))
            return found
        if kind != "probability":
            return [self.number(kind) for _ in range(width)]
        parts = [rng.expovariate(1) for _ in range(width)]
        found = [repr(part / sum(parts)) for part in parts]
        if rng.random() < self.odd:
            found[rng.randrange(width)] = self.number("probability")
        return found

    def row(self, kind: str, width: int) -> str:
        """A row of a kind of `ROWS`."""
        rng = self.rng
        if kind == "text":
            return json.dumps(self.label())
        if kind == "texts":
            return json.dumps(rng.sample(("cat", "dog", "bird"), rng.randrange(4)))
        if kind == "bits":
            return f"[{','.join(rng.choices(('0', '1', '1.0'), k=width))}]"
        if kind == "labelled":
            name = rng.choice(("label", "class"))
            label = "1" if rng.random() < 0.3 else json.dumps(self.label())
            return f'{{"{name}":{label},"{rng.choice(CONFIDENCES)}":{self.number("probability")}}}'
        if kind == "object":
            scores = self.scores(width)
            names = [f'"c{at}":{score}' for at, score in enumerate(scores)]
            return f"{{{','.join(names)}}}"
        if kind in ("probabilities", "logits", "one-hot"):
            kind = {"probabilities": "probability", "logits": "any"}.get(kind, kind)
            return f"[{','.join(self.scores(width, kind))}]"
        found = rng.choice(("true", "false")) if kind == "boolean" else self.number(kind)
        return rng.choice((found, f"[{found}]"))


#: The kinds of rows, and whether a tensor can hold them.
ROWS = {
    "probability": True, "any": True, "integer": True, "probabilities": True, "logits": True,
    "one-hot": True, "text": False, "boolean": False, "object": False, "labelled": False,
    "bits": True, "texts": False,
}  # fmt: skip


def _flat(rows: Sequence[str]) -> tuple[int, list[str]]:
    """The width of rows of numbers, and all of their values."""
    parsed = [row.strip("[]").split(",") for row in rows]
    return len(parsed[0]), [value for row in parsed for value in row]


def _ndarray(writer: Writer, rows: Sequence[str], names: str) -> str:
    return f'{{"data":{{{names}"ndarray":[{",".join(rows)}]}},"meta":{{"puid":"x"}}}}'


def _tensor(writer: Writer, rows: Sequence[str], names: str) -> str:
    width, values = _flat(rows)
    shape = writer.form([len(rows), width], [len(rows), width] if width > 1 else [len(rows)])
    parts = [f'"shape":{json.dumps(shape)}', f'"values":[{",".join(values)}]']
    parts = writer.form(parts, parts[::-1])
    return f'{{"meta":{{}},"data":{{{names}"tensor":{{{",".join(parts)}}}}}}}'


def _json_data(writer: Writer, rows: Sequence[str], names: str) -> str:
    only = len(rows) == 1 and not rows[0].startswith("[") and writer.rng.random() < 0.5
    listed = rows[0] if only else f"[{','.join(rows)}]"
    return f'{{"jsonData":{listed}}}'


def _str_data(writer: Writer, rows: Sequence[str], names: str) -> str:
    return f'{{"strData":{rows[0]}}}'


def _predictions(writer: Writer, rows: Sequence[str], names: str) -> str:
    listed = f"[{','.join(rows)}]"
    return writer.form(
        f'{{"predictions":{listed}}}',
        f'{{"predictions":{{"proba":{listed}}}}}',
        f'{{"outputs":{listed}}}',
        f'{{"outputs":{{"output":{listed}}},"model_spec":{{"name":"m"}}}}',
    )


def _output(writer: Writer, name: str, rows: Sequence[str]) -> str:
    """An output of the Open Inference Protocol: flat, or nested like its shape."""
    if rows[0].strip("[")[:1] in '"tf':
        values, datatype = [row.strip("[]") for row in rows], "BYTES" if '"' in rows[0] else "BOOL"
        shapes = [[len(rows)], [len(rows), 1], [], None]
        data = ",".join(values)
    else:
        width, values = _flat(rows)
        datatype = writer.form("FP32", "FP64", "INT64")
        shapes = [[len(rows), width]] if width > 1 else [[len(rows)], [len(rows), 1], [], None]
        is_nested = writer.form(False, width > 1)
        data = ",".join(rows if is_nested else values)
    shape = writer.form(*shapes)
    parts = [f'"name":"{name}"', f'"datatype":"{datatype}"']
    if shape is not None:
        parts.append(f'"shape":{json.dumps(shape)}')
    if writer.form(False, False, True):
        parts.append('"parameters":{"content_type":"np"}')
    parts.append(f'"data":[{data}]')
    if writer.form(False, False, True):
        writer.rng.shuffle(parts)
    return f"{{{','.join(parts)}}}"


def _outputs(writer: Writer, rows: Sequence[str], names: str) -> str:
    rng = writer.rng
    outputs = [_output(writer, "o", rows)]
    kind = writer.form(0, 1, 2, 3)
    if kind == 1:
        outputs.append(_output(writer, "proba", [writer.row("probabilities", 3) for _ in rows]))
    if kind == 2:
        label = rng.choice(("text", "integer"))
        outputs = [
            _output(writer, "predict", [writer.row(label, 1).strip("[]") for _ in rows]),
            _output(writer, "predict_proba", [writer.row("probabilities", 3) for _ in rows]),
        ]
    if kind > 0 and rng.random() < 0.1:
        rng.shuffle(outputs)
    return f'{{"model_name":"m","id":"1","outputs":[{",".join(outputs)}]}}'


Container = Callable[[Writer, Sequence[str], str], str]
CONTAINERS: dict[str, Container] = {
    "ndarray": _ndarray,
    "tensor": _tensor,
    "jsonData": _json_data,
    "strData": _str_data,
    "predictions": _predictions,
    "outputs": _outputs,
}


def fits(container: str, row: str) -> bool:
    """Whether rows of this kind stand in such a container."""
    if container == "strData":
        return row == "text"
    return ROWS[row] or (
        container != "tensor"
        and not (container == "outputs" and row in ("object", "labelled", "texts"))
    )


def message(writer: Writer, container: str, kind: str, rows: int, width: int = 3) -> str:
    """A message of so many rows of a kind."""
    found = [writer.row(kind, width) for _ in range(1 if container == "strData" else rows)]
    names = ""
    if kind not in ("text", "object", "labelled", "texts") and writer.rng.random() < 0.5:
        count = width if kind in ("probabilities", "logits", "one-hot", "bits") else 1
        names = f'"names":{json.dumps([f"t{at}" for at in range(count)])},'
    return CONTAINERS[container](writer, found, names)


def bare(writer: Writer, kind: str, rows: int, width: int = 3) -> str:
    """A truth without a message around it: a list of so many rows, or the only one."""
    found = [writer.row(kind, width) for _ in range(rows)]
    is_plain = rows == 1 and found[0][0] not in "[{" and writer.form(True, False)
    return found[0] if is_plain else f"[{','.join(found)}]"


def feedback(writer: Writer, truth: str | None, reward: str | None, answer: str = "") -> str:
    """A feedback, with the request and the response in it if there is an ``answer``."""
    parts = []
    if answer:
        parts += ['"request":{"data":{"ndarray":[[1,2]]}}', f'"response":{answer}']
    if reward is not None:
        parts.append(f'"reward":{reward}')
    if truth is not None:
        parts.append(f'"truth":{truth}')
    if writer.form(False, *[False] * 8, True):
        writer.rng.shuffle(parts)
    return f"{{{','.join(parts)}}}"


def headers(kind: str, deployment: str, number: int, **more: Any) -> list[tuple[str, bytes]]:
    """The headers of an event, as Seldon's executor sends them."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_time", f"2026-11-20T09:{number // 60 % 60:02}:{number % 60:02}Z".encode()),
        ("ce_requestid", f"0a1b2c3d-0000-4000-8000-{number:012x}".encode()),
        ("ce_namespace", b"ns"),
        ("ce_inferenceservicename", deployment.encode()),
        ("ce_endpoint", b"default"),
        ("ce_modelid", b"classifier"),
        ("content-type", b"application/json"),
    ]
