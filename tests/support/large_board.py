"""A board of many models with a past, each a little different, the same each time."""

from collections.abc import Mapping
from random import Random

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.tally.windows import TIERS
from processor.publish.interfaces import Gauges
from tests.support.fakes import NOW, FakeBoard, FakeHealth

_MINUTES = 20 * 60
_LABELS = ("bird", "cat", "dog", "a class with a rather long name")


class ManyBoard(FakeBoard):
    """``number`` models; each window holds all of the last 20 hours, which is all there is."""

    def __init__(self, number: int) -> None:
        names = [f"model-{i:03}" for i in range(number)]
        self._past = {
            ModelKey("shop" if i % 3 else "fraud", name, "default", "classifier"): _past(i)
            for i, name in enumerate(names)
        }
        sums = {}
        for key, minutes in self._past.items():
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


def _past(seed: int) -> dict[int, Counts]:
    random = Random(seed)
    end = int(NOW) // 60
    skill = random.uniform(0.55, 0.98)
    past = {}
    for minute in range(end - _MINUTES, end, 1 + seed % 7 * 3):
        counts = Counts(predictions=random.randint(1, 6))
        for _ in range(counts.predictions):
            # The newer, the less of it has feedback yet.
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
    """A worker that is behind, with its archive not read yet."""
    held = Gauges(watermark_timestamp_seconds=NOW - 95, held_deltas=0, waiting_requests=4321)
    return FakeHealth(bootstrapped=False, lag=12345, held=held)
