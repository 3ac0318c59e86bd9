"""Counts over time of many models, of large numbers and of many labels; the same in each run."""

from collections.abc import Mapping
from random import Random

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.tally.windows import TIERS
from processor.publish.interfaces import Gauges
from tests.support.fakes import NOW, FakeCounts, FakeHealth

_MINUTES = 20 * 60
_LABELS = ("bird", "cat", "dog", "a class with a rather long name")


class PastCounts(FakeCounts):
    """Models with counts over time; ``past`` has them by model and minute since 1970.

    Every window holds all of them.
    """

    def __init__(self, past: Mapping[ModelKey, Mapping[int, Counts]]) -> None:
        self._past = past
        sums = {}
        for key, minutes in past.items():
            sums[key] = Counts()
            for counts in minutes.values():
                sums[key].add(counts)
        super().__init__(sums)
        self._tiers = [self._grouped(tier.size // 60) for tier in TIERS[:3]]

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        return self._tiers[tier]

    def _grouped(self, minutes: int) -> dict[ModelKey, dict[int, Counts]]:
        result: dict[ModelKey, dict[int, Counts]] = {}
        for key, past in self._past.items():
            grouped = result[key] = {}
            for minute, counts in past.items():
                grouped.setdefault(minute // minutes, Counts()).add(counts)
        return result


class ManyModels(PastCounts):
    """``number`` models with counts over the last 20 hours."""

    def __init__(self, number: int) -> None:
        super().__init__(
            {
                ModelKey("shop" if i % 3 else "fraud", f"model-{i:03}", "default", "classifier"): (
                    _past(i)
                )
                for i in range(number)
            }
        )


class ExtremeModels(PastCounts):
    """``number`` models with counts of seven digits and names as long as Kubernetes allows.

    Some names have no place for a line break; every tenth deployment has two predictors.
    """

    def __init__(self, number: int) -> None:
        past = {}
        for i in range(number):
            name = ("recommendation-engine-of-the-shop-" * 2 if i % 2 else "x" * 59) + f"{i:03}"
            for predictor in ("default", "canary") if i % 10 == 1 else ("default",):
                past[ModelKey("n" * 63, name, predictor, "classifier" * 6)] = _large_past(i)
        super().__init__(past)


def _large_past(seed: int) -> dict[int, Counts]:
    """Counts by minute: every two hours 400,000 predictions, some 150,000 of them judged."""
    end = int(NOW) // 60
    past = {}
    for minute in range(end - _MINUTES, end + 1, 120):
        wrong = 7_919 * (1 + seed % 9)
        cells = {Cell(label, label): 40_000 for label in _LABELS}
        cells |= {Cell(_LABELS[0], _LABELS[-1]): wrong, Cell(_LABELS[1], _LABELS[2]): wrong // 3}
        judged = sum(cells.values())
        past[minute] = Counts(
            400_000, judged, 40_000 * len(_LABELS), 0, judged, 40_000 * MICRO, 12_345, cells
        )
    return past


def many_labels(number: int) -> Counts:
    """Counts of a model with ``number`` labels that is right in 70 % of the items.

    Otherwise it confuses a label with a neighbour; the label at a third is confused most often.
    """
    cells = {}
    for i in range(number):
        cells[Cell(f"{i}", f"{i}")] = 70
        for away in (1, 2, 5):
            cells[Cell(f"{i}", f"{(i + away) % number}")] = 12 - away
    cells[Cell(f"{number // 3}", f"{number - 1}")] = 171
    total = sum(cells.values())
    return Counts(2 * total, total, 70 * number, cells=cells)


def _past(seed: int) -> dict[int, Counts]:
    random = Random(seed)
    end = int(NOW) // 60
    skill = random.uniform(0.55, 0.98)
    past = {}
    for minute in range(end - _MINUTES, end, 1 + seed % 7 * 3):
        counts = Counts(predictions=random.randint(1, 6))
        for _ in range(counts.predictions):
            # The newer a minute is, the fewer of its predictions have feedback.
            if random.random() < 0.8 * (end - minute) / _MINUTES:
                actual = random.choice(_LABELS)
                right = random.random() < skill
                predicted = actual if right else random.choice(_LABELS)
                counts.add(
                    Counts(
                        judged=1,
                        correct=int(actual == predicted),
                        rewards=1,
                        reward_sum=MICRO * (actual == predicted),
                        cells={Cell(actual, predicted): 1},
                    )
                )
        past[minute] = counts
    return past


def busy_health() -> FakeHealth:
    """The health of a worker that lags behind and has not read its archive yet."""
    held = Gauges(watermark_timestamp_seconds=NOW - 95, held_deltas=0, waiting_requests=4321)
    return FakeHealth(bootstrapped=False, lag=12345, held=held)
