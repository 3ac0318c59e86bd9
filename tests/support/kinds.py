"""Models of each kind, as counts over time: those of `examples.kinds_of_models`."""

import asyncio
import json
from collections.abc import Mapping

import yaml

from examples.kinds_of_models import MODELS, events
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.domain.statistics.counts import Counts
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.replay.tables.objects import ObjectLines
from processor.settings import Settings
from tests.support.fakes import NOW
from tests.support.large_counts import PastCounts

PRICES, CHURN, PRODUCTS, TAGS = (
    ModelKey(namespace, deployment, "default", "model")
    for namespace, deployment in (
        ("estates", "prices"), ("shop", "churn"), ("shop", "products"), ("photos", "tags"),
    )
)  # fmt: skip


class KindsOfModels(PastCounts):
    """The four models with the feedback of ``number`` requests to each over two weeks."""

    def __init__(self, number: int = 400) -> None:
        self.fold = asyncio.run(_fold(number))
        super().__init__(_by_minute(self.fold))


async def _fold(number: int) -> ReplayFold:
    rules = parse_rules(yaml.safe_load(MODELS), "models")
    source = ObjectLines(json.loads(json.dumps(each)) for each in events(number, NOW))
    return await fold_sources([source], rules, Selection(), Access(Settings.from_env({})))


def _by_minute(fold: ReplayFold) -> Mapping[ModelKey, Mapping[int, Counts]]:
    past: dict[ModelKey, dict[int, Counts]] = {}
    for request in fold.requests():
        for key, joined in request:
            contribution = fold.selection.contribution(joined)
            if contribution is not None:
                time, counts = contribution
                minutes = past.setdefault(key, {})
                minutes.setdefault(time // (60 * 10**9), Counts()).add(counts)
    return past
