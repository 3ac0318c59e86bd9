"""Write an events file with a model of each kind: a regression, a binary model, one of 20 classes, and
one with several labels an item.

    python -m examples.kinds_of_models kinds.ndjson
    processor report kinds.ndjson --models kinds.yaml --format html --output kinds.html

Beside the file it writes the models file of the four models, which says what each of them answers. The
events are the same each time but for their times: they end now.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

DAYS = 14
TAGS = ("beach", "city", "food", "forest", "night", "people", "snow", "sport")
PRODUCTS = tuple(f"product-{number:02}" for number in range(1, 21))
MODELS = """\
models:
  - match: estates/prices
    task: regression
    tolerance: "10%"
    unit: 0.01
  - match: shop/churn
    classes: [stays, leaves]
  - match: shop/products
    output: scores
  - match: photos/tags
    task: multilabel
    classes: [TAGS]
""".replace("TAGS", ", ".join(TAGS))


def prices(random: Random) -> tuple[list[Any], list[Any]]:
    """A price that is off by a share of itself, too low by a little."""
    actual = math.exp(random.gauss(12.4, 0.5))
    return [round(actual * math.exp(random.gauss(-0.02, 0.09)), 2)], [round(actual, 2)]


def churn(random: Random) -> tuple[list[Any], list[Any]]:
    """A probability that is too sure of itself."""
    logit = random.gauss(-1, 1.6)
    leaves = random.random() < 1 / (1 + math.exp(-logit))
    return [round(1 / (1 + math.exp(-1.5 * logit)), 4)], [int(leaves)]


def products(random: Random) -> tuple[dict[str, Any], list[Any]]:
    """Scores of 20 classes, the first of which are more frequent."""
    actual = min(int(random.expovariate(0.15)), len(PRODUCTS) - 1)
    logits = [random.gauss(0, 1) + (2.2 if i == actual else 0) for i in range(len(PRODUCTS))]
    total = sum(map(math.exp, logits))
    scores = [round(math.exp(each) / total, 6) for each in logits]
    return {"names": list(PRODUCTS), "ndarray": [scores]}, [PRODUCTS[actual]]


def tags(random: Random) -> tuple[list[Any], list[Any]]:
    """Labels of a photo as 0s and 1s; now and then one is missed, or is one too many."""
    actual = [int(random.random() < 0.4 / (1 + i / 3)) for i in range(len(TAGS))]
    predicted = [bit ^ int(random.random() < (0.15 if bit else 0.05)) for bit in actual]
    return [predicted], [actual]


KINDS = {
    ("estates", "prices"): prices,
    ("shop", "churn"): churn,
    ("shop", "products"): products,
    ("photos", "tags"): tags,
}


def events(number: int, now: float) -> Iterator[dict[str, Any]]:
    """The events of ``number`` requests to each model; four in five have feedback."""
    random = Random(1)
    for i in range(number):
        sent = now - DAYS * 86400 * (1 - (i + random.random()) / number)
        for (namespace, deployment), answer in KINDS.items():
            predicted, actual = answer(random)
            data = predicted if isinstance(predicted, dict) else {"ndarray": predicted}
            headers = {
                "ce-id": f"{deployment}-{i}",
                "ce-specversion": "1.0",
                "ce-source": "examples.kinds_of_models",
                "ce-requestid": f"{deployment}-{i}",
                "ce-inferenceservicename": deployment,
                "ce-namespace": namespace,
                "ce-endpoint": "default",
                "ce-modelid": "model",
                "content-type": "application/json",
            }
            kind = "io.seldon.serving.inference.response"
            yield {
                "headers": {**headers, "ce-type": kind, "ce-time": moment(sent)},
                "data": {"data": data},
            }
            known = sent + random.expovariate(1 / 7200)
            if random.random() < 0.8 and known < now:
                headers |= {"ce-id": f"{deployment}-{i}-feedback"}
                kind = "io.seldon.serving.feedback"
                yield {
                    "headers": {**headers, "ce-type": kind, "ce-time": moment(known)},
                    "data": {"truth": {"data": {"ndarray": actual}}},
                }


def moment(seconds: float) -> str:
    """A time as RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def write(path: Path, number: int = 1500, now: float | None = None) -> Path:
    """Write the events file and, beside it, the models file, whose path is returned."""
    with path.open("w", encoding="utf-8") as file:
        for event in events(number, time.time() if now is None else now):
            file.write(json.dumps(event) + "\n")
    models = path.with_suffix(".yaml")
    models.write_text(MODELS, encoding="utf-8")
    return models


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.kinds_of_models FILE.ndjson")
    print(f"models file: {write(Path(sys.argv[1]))}")
