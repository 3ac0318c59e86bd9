"""Measure the join alone by the kind of requests: CPU time per event, and memory per request kept.

Observations are encoded as on the log, and decoded outside of the measured time. 63 % of the requests
get feedback, some batches later (of "feedback first", some batches before); where feedback waits, there
are no predictions. Each kind runs in a process of its own.
"""

import gc
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from string import ascii_letters
from typing import NamedTuple
from uuid import UUID

from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import EVENT, BatchBuilder, Feedback, Prediction
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.quantities import pack_double, pack_number
from processor.domain.timestamps import HOUR, SECOND
from processor.domain.values import (
    NUMBER,
    SCORES,
    Answer,
    Reading,
    Schema,
    content_digest,
    digest,
    mix,
)
from processor.telemetry import Telemetry

from .support.command import parser
from .support.measure import resident_bytes

_DEPLOYMENTS, _PER_BATCH, _BEHIND, _SHARE, _ROWS = 10, 1000, 5, 0.63, 10
_START = 1_700_000_000 * SECOND
_NAMES = ("cat", "dog", "hen")

#: What a request says and its truth: answers, values, truth, values of the truth.
_Content = tuple[
    tuple[Answer, ...], tuple[bytes, ...], tuple[Reading, ...] | None, tuple[bytes, ...]
]


class Kind(NamedTuple):
    """The ids and the contents of a kind of requests, and how many predictors answer each."""

    request_id: Callable[[random.Random, int], str]
    content: Callable[[random.Random, int], _Content]
    rows: int = 1
    predictors: int = 1
    early: bool = False
    alone: bool = False
    """Feedback waits for predictions that never come."""


class Result(NamedTuple):
    """`us`: CPU µs per event; `bytes_each`: of a request kept."""

    us: float
    bytes_each: float


def _uuid(rng: random.Random, number: int) -> str:
    return str(UUID(int=rng.getrandbits(128)))


def _letters(rng: random.Random, number: int) -> str:
    return "".join(rng.choices(ascii_letters + "_-", k=30))


def _labels(rng: random.Random, rows: int) -> _Content:
    answers = tuple([_answer(rng.randrange(3)) for _ in range(rows)])
    return answers, (), tuple([Reading(SCORES, rng.randrange(3), 3) for _ in range(rows)]), ()


def _answer(position: int) -> Answer:
    return Answer(_NAMES[position], None, SCORES, Schema(names=_NAMES), 3)


def _scores(rng: random.Random, rows: int) -> _Content:
    answers, _, truth, _ = _labels(rng, rows)
    packed = []
    for answer in answers:
        other = rng.randrange(10_000)
        qs = [other, 20_000 - other]
        qs.insert(_NAMES.index(str(answer.label)), 45_535)
        packed.append(b"".join([q.to_bytes(2, "little") for q in qs]))
    return answers, tuple(packed), truth, ()


def _numbers(rng: random.Random, rows: int) -> _Content:
    answers = tuple([Answer(None, None, NUMBER, Schema()) for _ in range(rows)])
    numbers = tuple([pack_number(rng.randrange(10**9)) for _ in range(rows)])
    truth = tuple([Reading(NUMBER, None) for _ in range(rows)])
    return answers, numbers, truth, tuple([pack_double(rng.random()) or b"" for _ in range(rows)])


def _rewards(rng: random.Random, rows: int) -> _Content:
    answers, _, _, _ = _labels(rng, rows)
    return answers, (), None, ()


KINDS = {
    "labels, UUIDs": Kind(_uuid, _labels),
    "reward alone": Kind(_uuid, _rewards),
    "scores of three classes": Kind(_uuid, _scores),
    "numbers": Kind(_uuid, _numbers),
    "ids of 32 digits": Kind(lambda rng, _: f"{rng.getrandbits(128):032x}", _labels),
    "ids of 24 digits": Kind(lambda rng, _: f"{rng.getrandbits(96):024x}", _labels),
    "ids that are integers": Kind(lambda _, number: str(10**9 + number), _labels),
    "ids such as req-<UUID>": Kind(lambda rng, number: "req-" + _uuid(rng, number), _labels),
    "ids of 30 letters": Kind(_letters, _labels),
    "feedback first": Kind(_uuid, _labels, early=True),
    "feedback that waits": Kind(_uuid, _labels, alone=True),
    "reward that waits": Kind(_uuid, _rewards, alone=True),
    "a canary beside": Kind(_uuid, _labels, predictors=2),
    "batches of 10 rows": Kind(_uuid, _labels, rows=_ROWS),
    "batches of 10 rows with scores": Kind(_uuid, _scores, rows=_ROWS),
    "batches of 10 rows, reward alone": Kind(_uuid, _rewards, rows=_ROWS),
}


def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.join", __doc__, "--requests 20000")
    line.add_argument("--requests", type=int, default=60_000, help="requests kept (%(default)s)")
    line.add_argument("--kinds", nargs="+", default=list(KINDS), help="kinds of requests")
    options = line.parse_args(arguments)
    print("| kind | CPU µs/event | bytes each |\n|---|--:|--:|")
    for name in options.kinds:
        # A fresh process: memory that an earlier run left would be counted, or hide what this one takes.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (name, options.requests))
        print(f"| {name} | {found.us:.2f} | {found.bytes_each:.0f} |", flush=True)
    return 0


def measure(name: str, requests: int) -> Result:
    """Fold that many requests of a kind and their feedback as one partition of the log."""
    fold = JoinFold("bench", 0, 8, 168 * HOUR, Telemetry())
    fold.apply(0, _START, decode_observation(encode(BatchBuilder().build("bench"))))  # type: ignore[arg-type]
    gc.collect()
    before, spent, events = resident_bytes(), 0.0, 0
    for offset, (packed, count) in enumerate(_batches(KINDS[name], requests)):
        record = decode_observation(packed)
        begin = time.thread_time()
        fold.apply(offset, _START, record)  # type: ignore[arg-type]
        spent += time.thread_time() - begin
        events += count
    del packed, record
    gc.collect()
    return Result(spent / events * 1e6, (resident_bytes() - before) / requests)


def _batches(kind: Kind, requests: int) -> Iterator[tuple[bytes, int]]:
    """Records of the log, each with its number of events."""
    rng, waiting = random.Random(5), list[list[Prediction | Feedback]]()
    for first in range(0, requests, _PER_BATCH):
        predictions, feedbacks = list[Prediction | Feedback](), list[Prediction | Feedback]()
        for number in range(first, min(first + _PER_BATCH, requests)):
            made, feedback = _request(kind, rng, number)
            predictions += [] if kind.alone else made
            if kind.alone or rng.random() < _SHARE:
                feedbacks.append(feedback)
        now, later = (feedbacks, predictions) if kind.early else (predictions, feedbacks)
        waiting.append(later)
        yield _record(now + (waiting.pop(0) if len(waiting) > _BEHIND else []))
    for remaining in waiting:
        yield _record(remaining)


def _record(seen: Sequence[Prediction | Feedback]) -> tuple[bytes, int]:
    builder = BatchBuilder()
    for one in seen:
        builder.add(one)
    return encode(builder.build("bench")), len(seen)


def _request(kind: Kind, rng: random.Random, number: int) -> tuple[list[Prediction], Feedback]:
    """The predictions of a request, and its feedback."""
    request_id, at = kind.request_id(rng, number), _START + number * 2_000_000
    deployment = f"deployment-{rng.randrange(_DEPLOYMENTS)}"
    models = [ModelKey("bench", deployment, f"p{one}", "m") for one in range(kind.predictors)]
    answers, packed, truth, truth_values = kind.content(rng, kind.rows)
    contents = [
        mix(content_digest(answer), values)
        for answer, values in zip(answers, packed or [b""] * len(answers), strict=True)
    ]
    content = contents[0] if len(contents) == 1 else digest(contents)
    predictions = [
        Prediction(model, request_id, at, EVENT, content, answers, False, packed)
        for model in models
    ]
    reward = 1_000_000 if truth is None else None
    content = mix(digest(truth, reward), b"".join(truth_values))
    return predictions, Feedback(
        models[0], request_id, at + SECOND, EVENT, content, truth, reward, truth_values
    )


if __name__ == "__main__":
    sys.exit(main())
