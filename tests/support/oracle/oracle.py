"""The counting rules, read plainly: group per request, take the greatest version, judge, sum.

Nothing here is clever or fast, and nothing is shared with the product. Numbers in brackets
are the rules' own. Seldon payloads in CloudEvents of binary mode only.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import (
    cohen_kappa_score,
    matthews_corrcoef,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from tests.support.oracle.value_scores import (
    Number,
    Probabilities,
    by_class,
    curve,
    in_units,
    kept,
    number_scores,
    probability_scores,
    quantized,
)

REQUEST = "io.seldon.serving.inference.request"
RESPONSE = "io.seldon.serving.inference.response"
FEEDBACK = "io.seldon.serving.feedback"
MILLION = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCORES = ("precision", "recall", "specificity", "f1")
RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))"
)

Request = tuple[str, str, str]  # namespace, deployment, request id
Version = tuple[int, int, str]  # event time, source (an event is 1), digest


class DeadLetterError(Exception):
    """An event that can't be read; the argument is the reason."""


class UncountedError(Exception):
    """An event that says nothing about predictions (23); the argument is its kind."""


@dataclass(frozen=True)
class Settings:
    """What the models file says about one model."""

    output: str | None = None
    task: str | None = None
    classes: tuple[str, ...] = ()
    threshold: float = 0.5
    judge_by: str = "truth"
    exclude: bool = False
    tolerance: float | str | None = None
    unit: int = -6


@dataclass(frozen=True)
class Observation:
    """A decoded response or feedback; `rows` is None for feedback without truth data."""

    request: Request
    predictor: str | None
    node: str | None
    time: int
    rows: list[Any] | None
    names: list[str]
    reward: int | None = None  # millionths

    @property
    def content(self) -> str:
        """Text that is equal where the decoded observations are equal (12)."""
        rows = None if self.rows is None else [canonical(row) for row in self.rows]
        return json.dumps([rows, self.names, self.reward])

    @property
    def version(self) -> Version:
        """Time, then source, then digest (12)."""
        return self.time, 1, hashlib.blake2b(self.content.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Reading:
    """What one row says: a label, a number in units, or the reason why it has neither."""

    label: str | None = None
    reason: str | None = None
    mode: str | None = None
    one_number: bool = False
    names: tuple[str, ...] = ()  # the message's own, one per score
    width: int = 0  # how many scores
    amount: int | None = None
    classes: tuple[str, ...] = ()  # of the probabilities
    q: dict[int, int] = field(default_factory=dict)  # the probabilities that are kept, by class
    threshold: float | None = None  # the one that decided

    @property
    def says(self) -> bool:
        """Whether there is a value that can be judged."""
        return self.label is not None or self.amount is not None


@dataclass
class Outcome:
    """What the counted feedback makes of one prediction."""

    kind: str = "judged"  # judged, rows_differ, ambiguous
    items: list[tuple[Reading, str | Number | None, bool | None]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    reward: int | None = None
    disagreement: bool = False


@dataclass
class Tally:
    """The sums of one model."""

    predictions: int = 0
    judged: int = 0
    correct: int = 0
    unknown_actual: int = 0
    rewards: int = 0
    reward_sum: int = 0
    disagreements: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)  # (actual, predicted)
    probabilities: list[Probabilities] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)


# Decoding


def parse_time(text: object) -> int:
    """RFC 3339 to integer nanoseconds (13)."""
    match = RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DeadLetterError("bad_time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if year == 1:  # Go's zero time stands for none, and a file has no other (13)
        raise DeadLetterError("bad_time")
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - EPOCH
    except ValueError:
        raise DeadLetterError("bad_time") from None
    nanoseconds = int((match[7] or "0").ljust(9, "0")[:9])
    offset = 0
    if match[9]:
        if int(match[10]) > 23 or int(match[11]) > 59:
            raise DeadLetterError("bad_time")
        offset = (int(match[10]) * 60 + int(match[11])) * 60
        offset = -offset if match[9] == "-" else offset
    return (moment.days * 86400 + moment.seconds - offset) * 10**9 + nanoseconds


def format_time(nanoseconds: int | None) -> str | None:
    """Integer nanoseconds to RFC 3339."""
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def unwrap(row: Any) -> Any:
    """`[x]` and `x` are the same row (3)."""
    while isinstance(row, list) and len(row) == 1:
        row = row[0]
    return row


def canonical(row: Any) -> Any:
    """A row with 1, 1.0 and -0.0 written in one way, for comparing content."""
    if isinstance(row, list):
        return [canonical(value) for value in row]
    if is_number(row) and math.isfinite(row) and row == int(row):
        return int(row)
    return row


def decode_reward(body: dict[str, Any]) -> int | None:
    """The reward in millionths (7)."""
    reward = body.get("reward")
    if reward is None:
        return None
    if isinstance(reward, bool):
        return MILLION if reward else 0
    if isinstance(reward, str) and re.fullmatch(r"-?\d+(\.\d+)?([eE]-?\d\d?)?", reward, re.ASCII):
        reward = Decimal(reward)
        if abs(reward) > MILLION:
            raise DeadLetterError("bad_reward")
        return int(reward.quantize(Decimal("0.000001"), ROUND_HALF_EVEN) * MILLION)
    if not is_number(reward) or not math.isfinite(reward) or abs(reward) > 1e6:
        raise DeadLetterError("bad_reward")
    return int((Decimal(repr(reward)) * MILLION).quantize(Decimal(1), ROUND_HALF_EVEN))


def tensor_rows(tensor: Any) -> list[Any]:
    """Rows of `{"shape": [...], "values": [...]}`."""
    try:
        shape, values = tensor["shape"], tensor["values"]
        if not all(type(size) is int and size > 0 for size in shape):
            raise DeadLetterError("bad_shape")
        if not shape or math.prod(shape) != len(values):
            raise DeadLetterError("bad_shape")
    except (TypeError, KeyError):
        raise DeadLetterError("bad_shape") from None

    def cut(sizes: list[int], rest: list[Any]) -> list[Any]:
        if len(sizes) == 1:
            return rest
        step = len(rest) // sizes[0]
        return [cut(sizes[1:], rest[i : i + step]) for i in range(0, len(rest), step)]

    return cut(shape, values)


def decode_message(message: dict[str, Any]) -> tuple[list[Any] | None, list[str]]:
    """Rows and names of a Seldon message; no rows where it has no data (3, 5, 10)."""
    data = message.get("data")
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise DeadLetterError("bad_shape")
    given = [key for key in ("ndarray", "tensor") if key in data]
    given += [key for key in ("jsonData", "strData") if key in message]
    if len(given) > 1:
        raise DeadLetterError("two_containers")
    names = data.get("names")
    names = names if isinstance(names, list) else []
    if not given:
        return None, names
    rows: Any
    if given == ["tensor"]:
        rows = tensor_rows(data["tensor"])
    elif given == ["ndarray"]:
        rows = data["ndarray"]
    elif given == ["jsonData"]:
        rows = message["jsonData"] if isinstance(message["jsonData"], list) else None
        rows = [message["jsonData"]] if rows is None else rows
    else:
        rows = [message["strData"]] if isinstance(message["strData"], str) else None
    if not isinstance(rows, list) or not rows:
        raise DeadLetterError("bad_shape")
    return [unwrap(row) for row in rows], names


def decode(event: Any) -> Observation | None:
    """An event as an observation; None for a request event (2)."""
    headers = event.get("headers") if isinstance(event, dict) else None
    if not isinstance(headers, dict) or not headers.get("ce-type"):
        raise DeadLetterError("not_cloudevent")
    kind = headers["ce-type"]
    if kind == REQUEST:
        return None
    if kind not in (RESPONSE, FEEDBACK):
        raise UncountedError("other")
    if kind == RESPONSE and int(headers.get("ce-statuscode") or 0) >= 400:
        raise UncountedError("failed")
    if kind == RESPONSE and headers.get("ce-component") == "explainer":
        raise UncountedError("explanation")
    ids = (headers.get(name) for name in ("ce-requestid", "requestid", "seldon-puid", "ce-id"))
    request_id = next((text for text in ids if text), None)
    if request_id is None:
        raise DeadLetterError("no_id")
    time = parse_time(headers.get("ce-time"))
    body = event.get("data")
    if body is None or isinstance(body, str):  # a body that was no JSON is kept as text
        try:
            body = json.loads(body or "")
        except ValueError:
            raise DeadLetterError("bad_json") from None
    if not isinstance(body, dict):
        raise DeadLetterError("bad_shape")
    request = (
        headers.get("ce-namespace") or "",
        headers.get("ce-inferenceservicename") or "",
        request_id,
    )
    predictor, node = headers.get("ce-endpoint") or None, headers.get("ce-modelid") or None
    if kind == RESPONSE:
        if isinstance(body.get("status"), dict) and body["status"].get("status") == "FAILURE":
            raise UncountedError("failed")
        rows, names = decode_message(body)
        if rows is None and body.get("error") is not None:
            raise UncountedError("failed")
        if rows is None and (body.get("explanations") or (body.get("data") or {}).get("anchor")):
            raise UncountedError("explanation")
        if rows is None:
            raise DeadLetterError("bad_shape")
        return Observation(request, predictor or "", node or "", time, rows, names)
    reward = decode_reward(body)
    truth = body.get("truth")
    truth = {} if truth is None else truth
    if not isinstance(truth, dict):
        # One value, or a list of one value a row.
        truth = {"data": {"ndarray": truth if isinstance(truth, list) else [truth]}}
    rows, names = decode_message(truth)
    return Observation(request, predictor, node, time, rows, names, reward)


# Labels


def is_number(value: object) -> bool:
    """A number, not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """A number of integer value that can be a label (5)."""
    if not is_number(value) or not math.isfinite(value):
        return False
    return bool(value == int(value) and abs(value) < 2**53)


def text_label(text: str, mode: str, **more: Any) -> Reading:
    """A label, if it is short enough; that of an empty text has a name (4, 5)."""
    if len(text.encode("utf-8", "surrogatepass")) > 256:
        return Reading(reason="label_too_long", mode=mode, **more)
    return Reading(text or "(empty)", mode=mode, **more)


def read_scores(row: list[Any], own: list[str], spare: list[list[str]]) -> Reading:
    """The name of the greatest score (4), and the probabilities (24)."""
    if not all(math.isfinite(value) for value in row) or len(set(row)) == 1:
        return Reading(reason="no_maximum", mode="scores")
    if all(value in (0, 1) for value in row) and sum(value == 1 for value in row) > 1:
        return Reading(reason="multi_label", mode="scores")
    position = row.index(max(row))
    fitting = [names for names in [own, *spare] if len(names) == len(row)]
    names = fitting[0] if fitting else [str(i) for i in range(len(row))]
    return text_label(
        names[position],
        "scores",
        names=tuple(own) if len(own) == len(row) else (),
        width=len(row),
        classes=tuple(names),
        q=kept(row),
    )


def read_probability(row: float, settings: Settings) -> Reading:
    """The label of the probability of the second of two (4), and of both (24)."""
    classes = settings.classes if len(settings.classes) == 2 else ("0", "1")
    label = classes[row >= settings.threshold]
    q = {0: quantized(1 - Fraction(row)), 1: quantized(row)}
    only_label = set(q.values()) <= {0, quantized(1)}
    return text_label(
        label,
        "probability",
        one_number=True,
        width=2,
        classes=tuple(classes),
        q={} if only_label else q,
        threshold=settings.threshold,
    )


def read_number(row: float, settings: Settings) -> Reading:
    """A number in units (27)."""
    amount = in_units(row, settings.unit)
    reason = "out_of_range" if amount is None else None
    return Reading(reason=reason, mode="number", one_number=True, amount=amount)


def read_row(
    row: Any, own: list[str], spare: list[list[str]], settings: Settings, output: str | None
) -> Reading:
    """The value of one row (4, 5); `output` is what the models file asks for."""
    if isinstance(row, list):
        if len(row) < 2 or not all(is_number(value) for value in row):
            return Reading(reason="shape")
        if output not in (None, "scores"):
            return Reading(reason="shape", mode="scores")
        return read_scores(row, own, spare)
    if isinstance(row, str):
        if output not in (None, "label"):
            return Reading(reason="shape")
        return text_label(row, "label")
    if output == "scores" or not isinstance(row, int | float):
        return Reading(reason="shape", mode=mode_of(row))
    two = len(settings.classes) == 2
    if output == "probability" or (two and output is None):
        probability = 0 <= row <= 1
    else:
        probability = not isinstance(row, bool) and 0 < row < 1 and output is None
    if probability:
        return read_probability(row, settings)
    if output == "probability":
        return Reading(reason="shape", one_number=True, mode=mode_of(row))
    if isinstance(row, bool) or is_integer(row):
        text = str(int(row))
        if settings.classes and text not in settings.classes:  # a position
            text = settings.classes[int(row)] if 0 <= row < len(settings.classes) else text
        return text_label(text, "label", one_number=True)
    if output == "label":
        return Reading(reason="shape", one_number=True, mode=mode_of(row))
    if not math.isfinite(row):
        return Reading(reason="no_maximum", one_number=True)
    return read_number(row, settings)


def mode_of(row: Any) -> str | None:
    """Whether a row that does not suit its model is a number all the same (8)."""
    if not is_number(row) or not math.isfinite(row) or is_integer(row) or 0 < row < 1:
        return None
    return "number"


def read_prediction(row: Any, names: list[str], settings: Settings) -> Reading:
    """The predicted value."""
    one = isinstance(row, int | float)
    if settings.task == "regression":
        if one and math.isfinite(row):
            return read_number(row, settings)
        seen = read_row(row, names, [], settings, None)
        return Reading(reason=seen.reason or "shape", mode=seen.mode)
    seen = read_row(row, names, [list(settings.classes)], settings, settings.output)
    if settings.task == "classification" and seen.mode == "number":
        return Reading(reason="shape", one_number=True, mode="number")
    return seen


def at(names: Iterable[str], position: int) -> Reading:
    """The name at a position (6)."""
    listed = list(names)
    if not 0 <= position < len(listed):
        return Reading(reason="position")
    return text_label(listed[position], "label")


def read_truth(
    row: Any,
    names: list[str],
    predicted: Reading,
    predicted_names: list[str],
    settings: Settings,
) -> Reading:
    """The actual value, with the prediction at hand (6, 9)."""
    if row is None:
        return Reading(reason="withdrawn")
    one = isinstance(row, int | float)
    plain = Settings(threshold=settings.threshold, unit=settings.unit)
    if predicted.amount is not None:
        if one and math.isfinite(row):
            return read_number(row, settings)
        seen = read_row(row, names, [], plain, None)
        return Reading(reason=seen.reason or "kinds_differ")
    if isinstance(row, bool) or is_integer(row):
        text = str(int(row))
        listed = settings.classes
        if predicted.mode == "probability" and len(listed) != 2:
            listed = ()  # its label is 0 or 1, none of these classes
        if not listed and not predicted.one_number:
            listed = predicted.names
        return at(listed, int(row)) if listed and text not in listed else Reading(text)
    if one and math.isfinite(row) and not 0 < row < 1:
        return Reading(reason="kinds_differ")
    return read_row(row, names, [predicted_names, list(settings.classes)], settings, None)


def other_label(predicted: Reading, settings: Settings) -> str | None:
    """The other one, where exactly two labels are possible (8)."""
    possible: Sequence[str] = settings.classes
    if (
        predicted.mode == "scores" and (predicted.width == 2 or predicted.names)
    ) or predicted.mode == "probability":
        possible = predicted.classes
    if predicted.label not in possible or len(possible) != 2 or len(set(possible)) != 2:
        return None
    return next(label for label in possible if label != predicted.label)


# Judging


def settings_of(models_file: dict[str, Any] | None, model: tuple[str, ...]) -> Settings:
    """The first entry whose pattern matches, part by part."""
    for entry in (models_file or {}).get("models") or []:
        pattern = entry["match"].split("/")
        if len(pattern) <= len(model) and all(map(fnmatchcase, model, pattern)):
            return Settings(
                output=entry.get("output"),
                task=entry.get("task"),
                classes=tuple(entry.get("classes") or ()),
                threshold=entry.get("threshold", 0.5),
                judge_by=entry.get("judge_by", "truth"),
                exclude=entry.get("exclude", False),
                tolerance=entry.get("tolerance"),
                unit=round(math.log10(entry.get("unit", 1e-6))),
            )
    return Settings()


def applies(feedback: Observation, prediction: Observation) -> bool:
    """Whether feedback is about a prediction of its request (11)."""
    return feedback.rows is not None or (
        feedback.predictor in (None, prediction.predictor)
        and feedback.node in (None, prediction.node)
    )


def judge(
    prediction: Observation, feedback: Observation | None, judges: int, settings: Settings
) -> Outcome:
    """The outcome of one prediction; `judges` is how many predictions the feedback is about."""
    assert prediction.rows is not None
    readings = [read_prediction(row, prediction.names, settings) for row in prediction.rows]
    outcome = Outcome(reasons=Counter(r.reason for r in readings if r.reason is not None))
    if feedback is None:
        outcome.kind = "waiting"
        return outcome
    reward = feedback.reward
    if feedback.rows is None and judges > 1:  # (11)
        outcome.kind = "ambiguous"
        return outcome
    outcome.reward = reward
    if feedback.rows is not None and len(feedback.rows) != len(readings):  # (10)
        outcome.kind = "rows_differ"
        return outcome
    fraction = (
        reward is not None
        and 0 < reward < MILLION
        and len(readings) > 1
        and any(reading.mode != "number" for reading in readings)
    )
    if feedback.rows is None:
        assert reward is not None
        if fraction:  # (8)
            outcome.kind = "ambiguous"
            return outcome
        for predicted in readings:
            if predicted.label is not None:
                right = reward > 0
                actual = predicted.label if right else other_label(predicted, settings)
                outcome.items.append((predicted, actual, right))
        return outcome
    truth_reasons: Counter[str] = Counter()
    for predicted, row in zip(readings, feedback.rows, strict=True):
        if not predicted.says:
            continue
        truth = read_truth(row, feedback.names, predicted, prediction.names, settings)
        if not truth.says:
            truth_reasons[str(truth.reason)] += 1
        elif predicted.amount is not None:
            assert truth.amount is not None
            both = Number(predicted.amount, truth.amount, settings.unit, settings.tolerance)
            outcome.items.append((predicted, both, both.within))
        else:
            outcome.items.append((predicted, truth.label, predicted.label == truth.label))
    rights = [right for predicted, _, right in outcome.items if predicted.label is not None]
    if reward is not None and rights:  # (7)
        outcome.disagreement = not any(rights) if reward > 0 else all(rights)
    if reward is not None and settings.judge_by == "reward":
        if fraction:
            outcome.kind, outcome.items = "ambiguous", []
            return outcome
        outcome.items = [
            (predicted, actual, right if predicted.label is None else reward > 0)
            for predicted, actual, right in outcome.items
        ]
    outcome.reasons += truth_reasons
    return outcome


# Scores


def number(value: Any) -> float | None:
    """A float, or None where it is undefined."""
    return None if math.isnan(value) else float(value)


def scores_of(cells: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Every score of a confusion matrix (19, 20, 22)."""
    nothing: dict[str, float | None] = dict.fromkeys(SCORES)
    result: dict[str, Any] = {
        "confusion": [
            {"actual": actual, "predicted": predicted, "count": count}
            for (actual, predicted), count in sorted(cells.items())
        ],
        "classes": {},
        "macro": dict(nothing),
        "micro": dict(nothing),
        "weighted": dict(nothing),
        "mcc": None,
        "kappa": None,
    }
    if not cells:
        return result
    names = sorted({label for cell in cells for label in cell})
    place = {name: i for i, name in enumerate(names)}
    actual = np.array([place[cell[0]] for cell in cells])
    predicted = np.array([place[cell[1]] for cell in cells])
    weight = np.array(list(cells.values()))
    labels = list(range(len(names)))
    sums = {"labels": labels, "sample_weight": weight}

    # For each class: how many of the others were predicted as others, and how many there are.
    tables = multilabel_confusion_matrix(actual, predicted, **sums)
    rest, negatives = tables[:, 0, 0], tables[:, 0].sum(axis=1)
    specificity = np.divide(rest, negatives, out=np.full(len(names), np.nan), where=negatives > 0)
    each = precision_recall_fscore_support(actual, predicted, zero_division=np.nan, **sums)
    for i, name in enumerate(names):
        result["classes"][name] = {
            "precision": number(each[0][i]),
            "recall": number(each[1][i]),
            "specificity": number(specificity[i]),
            "f1": number(each[2][i]),
            "support": round(float(each[3][i])),
            "roc_auc": None,
            "average_precision": None,
        }
    classes = list(result["classes"].values())
    support = [each["support"] for each in classes]
    spec = np.nan_to_num(specificity)
    averages = {
        "macro": (0.0, float(np.mean(spec))),
        "weighted": (0.0, float(np.average(spec, weights=support))),
        "micro": (np.nan, rest.sum() / negatives.sum() if negatives.any() else np.nan),
    }
    for kind, (undefined, spec_value) in averages.items():
        p, r, f, _ = precision_recall_fscore_support(
            actual, predicted, average=kind, zero_division=undefined, **sums
        )
        values = (p, r, spec_value, f)
        result[kind] = {
            k: number(v) if any(each[k] is not None for each in classes) else None
            for k, v in zip(SCORES, values, strict=True)
        }
    if len(set(actual)) > 1 and len(set(predicted)) > 1:
        result["mcc"] = number(matthews_corrcoef(actual, predicted, sample_weight=weight))
    if len(names) > 1:
        result["kappa"] = number(cohen_kappa_score(actual, predicted, **sums))
    return result


def report(model: tuple[str, ...], tally: Tally, by: str) -> dict[str, Any]:
    """One entry of `models`."""
    names = ("namespace", "deployment", "predictor", "model")
    entry: dict[str, Any] = dict(zip(names, model, strict=True))
    on_request = by == "request"
    entry |= {
        "predictions": tally.predictions if on_request else None,
        "judged": tally.judged,
        "correct": tally.correct,
        "unknown_actual": tally.unknown_actual,
        "coverage": tally.judged / tally.predictions if on_request else None,
        "accuracy": None,
        "accuracy_low": None,
        "accuracy_high": None,
        "rewards": tally.rewards,
        "reward_sum": tally.reward_sum / MILLION,
        "reward_mean": tally.reward_sum / MILLION / tally.rewards if tally.rewards else None,
        "disagreements": tally.disagreements,
    }
    decided = tally.judged - sum(number.within is None for number in tally.numbers)  # (28)
    if decided:
        wilson = binomtest(tally.correct, decided).proportion_ci(0.95, method="wilson")
        entry["accuracy"] = tally.correct / decided
        entry["accuracy_low"], entry["accuracy_high"] = float(wilson.low), float(wilson.high)
    entry |= scores_of(tally.cells) | scores_of_values(tally)
    for name, bins in by_class(tally.probabilities).items():
        if name in entry["classes"]:
            of = curve(*bins)
            entry["classes"][name] |= {key: of[key] for key in ("roc_auc", "average_precision")}
    return entry


def scores_of_values(tally: Tally) -> dict[str, Any]:
    """Every score of probabilities and numbers."""
    labelled = tally.judged - len(tally.numbers)
    result: dict[str, Any] = {
        "task": "regression" if len(tally.numbers) > labelled else "classification",
        "measured": len(tally.numbers),
    }
    if not tally.judged:
        result["task"] = None
    numbers = number_scores(tally.numbers)
    for name, value in probability_scores(tally.probabilities).items():
        result[name] = numbers[name] if numbers[name] not in (None, {}, []) else value
    return result


# The whole


def register(seen: Observation, is_feedback: bool) -> tuple[Any, ...]:
    """Where an observation's versions compete: observations here with equal content are one."""
    if is_feedback and seen.rows is not None:
        return seen.request, "truth"
    return seen.request, "reward" if is_feedback else "prediction", seen.predictor, seen.node


def replay(
    events: list[dict[str, Any]],
    models_file: dict[str, Any] | None = None,
    by: str = "request",
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> dict[str, Any]:
    """The JSON of `replay --format json`, but for `superseded`, `corrections` and `late`."""
    dead_letters: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    says_nothing = 0
    predictions: dict[Request, list[Observation]] = defaultdict(list)
    feedbacks: dict[Request, list[Observation]] = defaultdict(list)
    contents: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for event in events:
        try:
            seen = decode(event)
        except DeadLetterError as error:
            dead_letters[str(error)] += 1
            continue
        except UncountedError as error:
            uncounted[str(error)] += 1
            continue
        if seen is None:
            continue
        is_feedback = event["headers"]["ce-type"] == FEEDBACK
        if is_feedback and seen.rows is None and seen.reward is None:  # (9)
            says_nothing += 1
            continue
        (feedbacks if is_feedback else predictions)[seen.request].append(seen)
        contents[register(seen, is_feedback)].append(seen.content)

    tallies: dict[tuple[str, ...], Tally] = defaultdict(Tally)
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for request, answers in predictions.items():
        counted: list[tuple[Observation, Settings]] = []
        for who in {(answer.predictor, answer.node) for answer in answers}:
            same = [answer for answer in answers if (answer.predictor, answer.node) == who]
            greatest = max(same, key=lambda answer: answer.version)  # (12)
            settings = settings_of(models_file, (*request[:2], str(who[0]), str(who[1])))
            if not settings.exclude:  # (1)
                counted.append((greatest, settings))
        for prediction, settings in counted:
            about = [f for f in feedbacks.get(request, []) if applies(f, prediction)]
            feedback = max(about, key=lambda f: f.version, default=None)  # (12)
            judges = sum(applies(feedback, p) for p, _ in counted) if feedback else 0
            outcome = judge(prediction, feedback, judges, settings)
            kinds[outcome.kind] += 1
            reasons += outcome.reasons
            if by == "request":
                time: int | None = prediction.time
            else:
                time = feedback.time if feedback else None
            if time is None or (start_ns is not None and time < start_ns):
                continue
            if end_ns is not None and time >= end_ns:
                continue
            model = (*request[:2], str(prediction.predictor), str(prediction.node))
            add(tallies[model], prediction, outcome, by)
    models = [
        report(model, tally, by) for model, tally in sorted(tallies.items()) if tally != Tally()
    ]
    return {
        "from": format_time(start_ns),
        "to": format_time(end_ns),
        "by": by,
        "models": models,
        "events": {
            "read": len(events),
            **{kind: uncounted[kind] for kind in ("other", "failed", "explanation")},
            "duplicates": sum(len(c) - len(set(c)) for c in contents.values()),
            "unmatched_feedback": sum(request not in predictions for request in feedbacks),
            "says_nothing": says_nothing,
            "rows_differ": kinds["rows_differ"],
            "ambiguous": kinds["ambiguous"],
            "not_scorable": dict(sorted(reasons.items())),
            "dead_letters": dict(sorted(dead_letters.items())),
        },
    }


def add(tally: Tally, prediction: Observation, outcome: Outcome, by: str) -> None:
    """Sum one prediction with its outcome."""
    if by == "request":
        tally.predictions += len(prediction.rows or [])
    tally.disagreements += outcome.disagreement
    if outcome.reward is not None:
        tally.rewards += 1
        tally.reward_sum += outcome.reward
    for predicted, actual, right in outcome.items:
        tally.judged += 1
        tally.correct += bool(right)
        if isinstance(actual, Number):
            tally.numbers.append(actual)
        elif actual is None:
            tally.unknown_actual += 1
        else:
            assert predicted.label is not None
            tally.cells[actual, predicted.label] += 1
            if predicted.q:
                known = predicted.classes, predicted.q, predicted.label
                item = Probabilities(*known, actual, predicted.threshold)
                tally.probabilities.append(item)
