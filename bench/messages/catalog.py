"""All kinds of messages whose cost is measured, and those of the mixed load."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from processor.domain.model_rules import Rule

from . import envelopes, kserve, protobufs, request_ids
from .kind import Kind, Request, executor_headers, position_label
from .seldon import (
    PATH,
    answer,
    documented,
    documented_probability,
    integer_rows,
    listed,
    named_scores,
    one_hot,
    one_hot_rows,
    probability,
    question,
    reward_alone,
    score_data,
    score_rows,
    scores,
    truth,
)

#: The kind to which the others are compared.
COMMON = replace(named_scores(), title="Seldon `ndarray`, three probabilities with names")
_ONE_HOT = partial(one_hot, 3)
_TRUTH = partial(truth, _ONE_HOT)
_WORDS = ("cat", "dog", "bird")
_TOPICS = ("news", "sport", "science", "music", "travel")

#: A third of the models each: the answers of KServe, a single probability, batches of five rows.
MIXED = (
    kserve.scores_with_requests(),
    documented_probability(),
    replace(named_scores(rows=5), title="batches of five rows"),
)


def kinds() -> dict[str, Kind]:
    """The kinds by a short name, the common one first."""
    return {
        "common": COMMON,
        **_feedback_and_requests(),
        **_containers(),
        **_values(),
        **_labels(),
        **_ids(),
        **_envelopes(),
        **_batches(),
    }


def _common(title: str, **changes: object) -> Kind:
    return replace(COMMON, title=title, **changes)  # type: ignore[arg-type]


def _feedback_and_requests() -> dict[str, Kind]:
    return {
        "truth": _common("the same, truth one-hot always", feedback=_TRUTH),
        "requests": _common("the same with request events", question=question),
        "reward": _common("the same, reward alone", feedback=reward_alone),
        "documented": _common(
            "the same, feedback with `request` and `response`",
            feedback=partial(documented, _ONE_HOT, COMMON.answer),
        ),
        "feedback-first": _common("the same, feedback before its prediction", feedback_first=True),
        "shadow": _common(
            "the same, canary and shadow", endpoints=_canary_and_shadow, feedback=_TRUTH
        ),
    }


def _canary_and_shadow(request: Request) -> Sequence[str]:
    """A tenth of the requests go to a canary, all to a shadow too."""
    return "canary" if request.rows[0].first < 0.1 else "default", "shadow"


def _containers() -> dict[str, Kind]:
    tensorflow = partial(executor_headers, protocol=b"tensorflow")
    unnamed = partial(truth, _unnamed_one_hot)
    v2 = kserve.scores_with_requests()
    city = answer(partial(score_data, 3), PATH[:-1] + ',"tags":{"city":"Zürich"}}')
    return {
        "tensor": _common("`tensor`", answer=answer(_tensor), feedback=_TRUTH),
        "json-data": _common(
            "`jsonData`, probabilities", answer=answer(_json_data), feedback=unnamed,
            label=position_label,
        ),
        "json-object": _common(
            "`jsonData`, an object with label and score", answer=answer(_json_object),
            feedback=partial(truth, _words), label=_word,
        ),
        "tensorflow": Kind(
            "TensorFlow `predictions`", _tensorflow, unnamed, headers=tensorflow
        ),
        "tags": _common("`meta.tags` with a letter beyond ASCII", answer=city),
        "v2": replace(v2, title="v2 (KServe), answers alone", question=None),
        "v2-requests": v2,
        "v2-integer": replace(
            v2, title="v2 (KServe), an integer", answer=kserve.integer_answer, question=None
        ),
        "protobuf-seldon": protobufs.seldon(),
        "protobuf-v2": protobufs.v2(),
        "protobuf-tensorflow": protobufs.tensorflow(),
        "v2-binary": replace(
            v2, title="v2 (KServe), binary tensors", answer=kserve.binary_answer, question=None
        ),
    }  # fmt: skip


def _unnamed_one_hot(actual: Sequence[int]) -> str:
    return f'"data":{{"ndarray":{one_hot_rows(actual, 3)}}}'


def _tensor(request: Request) -> str:
    values = [value for row in request.rows for value in scores(row, 3)]
    shape = f'{{"shape":[{len(request.rows)},3],"values":{listed(values)}}}'
    return f'"data":{{"names":["t:0","t:1","t:2"],"tensor":{shape}}}'


def _json_data(request: Request) -> str:
    return f'"jsonData":{score_rows(request, 3)}'


def _json_object(request: Request) -> str:
    (row,) = request.rows
    score = 0.5 + row.first / 2
    return f'"jsonData":{{"label":"{_word(row.predicted)}","score":{score!r}}}'


def _tensorflow(request: Request) -> bytes:
    return f'{{"predictions":{score_rows(request, 3)}}}'.encode()


def _values() -> dict[str, Kind]:
    integers, numbers = partial(truth, integer_rows), partial(truth, _numbers)
    binary = Kind("one probability `[[0.93]]`", answer(_probability), integers, classes=2)
    regression = Rule(match="*/*", task="regression")
    sets = Kind(
        "label sets, as texts", answer(_set), partial(truth, _sets), classes=31,
        rule=Rule(match="*/*", task="multilabel"),
    )  # fmt: skip
    return {
        "logits": _common("scores below 0 or above 1", answer=answer(_logits)),
        "probability": binary,
        "probability-flat": replace(
            binary, title="one probability `[0.93]`", answer=answer(_flat_probability)
        ),
        "probability-documented": documented_probability(),
        "numbers": Kind(
            "numbers, truth a number", answer(_number), numbers, classes=10**6, rule=regression
        ),
        "sets": sets,
        "sets-0-1": replace(
            sets, title="label sets, as rows of 0 and 1", answer=answer(_bits),
            feedback=partial(truth, _bit_rows),
        ),
    }  # fmt: skip


def _logits(request: Request) -> str:
    (row,) = request.rows
    values = [value * 9 - 3 for value in scores(row, 3)]
    return f'"data":{{"names":["t:0","t:1","t:2"],"ndarray":[{listed(values)}]}}'


def _probability(request: Request) -> str:
    return f'"data":{{"names":["p"],"ndarray":[[{probability(request.rows[0])!r}]]}}'


def _flat_probability(request: Request) -> str:
    return f'"data":{{"names":["p"],"ndarray":[{probability(request.rows[0])!r}]}}'


def _number(request: Request) -> str:
    return _numbers(request.predicted)


def _numbers(values: Sequence[int]) -> str:
    rows = ",".join(f"[{value / 100!r}]" for value in values)
    return f'"data":{{"ndarray":[{rows}]}}'


def _set(request: Request) -> str:
    return _sets(request.predicted)


def _sets(values: Sequence[int]) -> str:
    rows = [[topic for at, topic in enumerate(_TOPICS) if value + 1 >> at & 1] for value in values]
    return f'"data":{{"ndarray":{json.dumps(rows)}}}'


def _bits(request: Request) -> str:
    return _bit_rows(request.predicted)


def _bit_rows(values: Sequence[int]) -> str:
    rows = [[value + 1 >> at & 1 for at in range(len(_TOPICS))] for value in values]
    return f'"data":{{"names":{json.dumps(_TOPICS)},"ndarray":{json.dumps(rows)}}}'


def _labels() -> dict[str, Kind]:
    def of(title: str, classes: int) -> Kind:
        feedback = partial(truth, _label_data)
        return Kind(title, answer(_label), feedback, classes=classes, label=_label_text)

    return {
        "words": Kind(
            "text labels, three", answer(_predicted_words), partial(truth, _words), label=_word
        ),
        "labels-one": of("text labels, one", 1),
        "labels-1000": of("text labels, 1,000", 1_000),
        "labels-all": of("text labels, all different", 10**12),
        "integers": Kind(
            "integer labels `[2]`", answer(_predicted_integers), partial(truth, integer_rows)
        ),
    }


def _word(position: int) -> str:
    return _WORDS[position]


def _words(values: Sequence[int]) -> str:
    return f'"data":{{"ndarray":{json.dumps([*map(_word, values)])}}}'


def _predicted_words(request: Request) -> str:
    return _words(request.predicted)


def _label_text(number: int) -> str:
    return f"label-{number}"


def _label_data(values: Sequence[int]) -> str:
    return f'"data":{{"ndarray":{json.dumps([*map(_label_text, values)])}}}'


def _label(request: Request) -> str:
    return _label_data(request.predicted)


def _predicted_integers(request: Request) -> str:
    return f'"data":{{"ndarray":{json.dumps(request.predicted)}}}'


def _ids() -> dict[str, Kind]:
    return {
        "ids-hex": _common("request ids of 24 hex digits", request_id=request_ids.hexadecimal),
        "ids-integer": _common("request ids that are integers", request_id=request_ids.integer),
        "ids-text": _common("request ids that are free text", request_id=request_ids.free_text),
    }


def _envelopes() -> dict[str, Kind]:
    return {
        "structured": _common("structured CloudEvents", records=envelopes.structured),
        "base64": _common("structured CloudEvents, data as base64", records=envelopes.encoded),
        "batched": _common("batched CloudEvents, ten a record", records=envelopes.batched),
        "gzip": _common("bodies as gzip", records=envelopes.compressed),
    }


def _batches() -> dict[str, Kind]:
    return {
        f"rows-{rows}": replace(named_scores(rows=rows), title=f"batches of {rows} rows")
        for rows in (5, 10)
    }
