"""Bodies of Seldon's protocol as JSON, and feedback as its API documents it."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from .kind import Judgement, Kind, Request, Row

Answer = Callable[[Request], bytes]
#: The members of a message that hold its data, made of the class of each row.
Data = Callable[[Sequence[int]], str]

PATH = '"meta":{"requestPath":{"classifier":"seldonio/sklearnserver:1.13.1"}}'
_TRUTH_META = '"meta":{"tags":{"user":"Seldon Admin","date":"20/11/2026"}}'
_QUESTION = '{"data":{"ndarray":[[6.7,3.0,5.2,2.3]]}}'


def name(position: int) -> str:
    """The name of a class."""
    return f"t:{position}"


@lru_cache
def names(classes: int) -> str:
    """The names of so many classes, as the elements of a list."""
    return ",".join(f'"{name(number)}"' for number in range(classes))


def scores(row: Row, classes: int) -> list[float]:
    """Probabilities of all classes, of which the predicted one is the greatest."""
    top = 0.51 + 0.4 * row.first
    second = (1 - top) * row.second
    others = classes - 2
    found = [second, *[(1 - top - second) / others] * others] if others else [1 - top]
    found.insert(row.predicted, top)
    return found


def probability(row: Row) -> float:
    """A single probability, of class 1."""
    return (0.501 + 0.498 * row.first) if row.predicted else (0.001 + 0.498 * row.first)


def listed(values: Sequence[float]) -> str:
    """A row of numbers."""
    return f"[{','.join(map(repr, values))}]"


def score_rows(request: Request, classes: int) -> str:
    """A list of one row of probabilities for each row of the request."""
    return f"[{','.join(listed(scores(row, classes)) for row in request.rows)}]"


def one_hot_rows(actual: Sequence[int], classes: int) -> str:
    """A list of one row of 0s and a 1 for each row."""
    rows = (listed([int(at == right) for at in range(classes)]) for right in actual)
    return f"[{','.join(rows)}]"


def message(data: Callable[[Request], str], meta: str, request: Request) -> bytes:
    """A SeldonMessage with these members: its data and its ``meta``."""
    return f"{{{data(request)},{meta}}}\n".encode()


def answer(data: Callable[[Request], str], meta: str = PATH) -> Answer:
    """The maker of a SeldonMessage with this data."""
    return partial(message, data, meta)


def one_hot(classes: int, actual: Sequence[int]) -> str:
    """Rows of 0s and a 1, with names."""
    return f'"data":{{"names":[{names(classes)}],"ndarray":{one_hot_rows(actual, classes)}}}'


def truth(data: Data, request: Request, judgement: Judgement) -> bytes:
    """Feedback with the truth, and the share of right rows as the reward."""
    said = f'"truth":{{{data(judgement.actual)},{_TRUTH_META}}}'
    return f'{{"reward":{reward(request, judgement)!r},{said}}}'.encode()


def truth_if_wrong(data: Data, request: Request, judgement: Judgement) -> bytes:
    """Feedback with a reward alone where all rows are right, else with the truth."""
    if judgement.actual == request.predicted:
        return f'{{"reward":1,"truth":{{{_TRUTH_META}}}}}'.encode()
    return truth(data, request, judgement)


def documented(data: Data, answered: Answer, request: Request, judgement: Judgement) -> bytes:
    """Feedback with the request and the response in it, as Seldon's API documents it."""
    response = answered(request).decode().strip()
    return (
        f'{{"request":{_QUESTION},"response":{response},'
        f'"reward":{reward(request, judgement)!r},"truth":{{{data(judgement.actual)}}}}}'
    ).encode()


def reward_alone(request: Request, judgement: Judgement) -> bytes:
    """Feedback with the share of right rows, without the truth."""
    return f'{{"reward":{reward(request, judgement)!r}}}'.encode()


def reward(request: Request, judgement: Judgement) -> float:
    """The share of right rows: 0 or 1 as an integer."""
    pairs = zip(judgement.actual, request.predicted, strict=True)
    right = sum(actual == predicted for actual, predicted in pairs)
    return right / len(request.rows) if 0 < right < len(request.rows) else int(right > 0)


def question(_: Request) -> bytes:
    """A request for an answer."""
    return _QUESTION.encode()


def score_data(classes: int, request: Request) -> str:
    """Rows of probabilities, with names."""
    return f'"data":{{"names":[{names(classes)}],"ndarray":{score_rows(request, classes)}}}'


def named_scores(classes: int = 3, rows: int = 1) -> Kind:
    """Probabilities with names: what Seldon's scikit-learn server answers."""
    return Kind(
        "Seldon `ndarray`, probabilities with names",
        answer(partial(score_data, classes)),
        partial(truth_if_wrong, partial(one_hot, classes)),
        classes=classes,
        label=name,
        rows=rows,
    )


def _probability_data(request: Request) -> str:
    rows = ",".join(listed([probability(row)]) for row in request.rows)
    return f'"data":{{"names":["p"],"ndarray":[{rows}]}}'


def integer_rows(actual: Sequence[int]) -> str:
    """Rows of one integer."""
    rows = ",".join(f"[{right}]" for right in actual)
    return f'"data":{{"ndarray":[{rows}]}}'


def documented_probability() -> Kind:
    """A single probability, and feedback that carries its request and response."""
    answered = answer(_probability_data)
    return Kind(
        "one probability `[[0.93]]`, feedback with `request` and `response`",
        answered,
        partial(documented, integer_rows, answered),
        classes=2,
    )
