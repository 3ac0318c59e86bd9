"""The simulated world: predictions, and labels that come late."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log
from random import Random
from typing import Any

#: Midnight of the first day.
START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class World:
    """How the model and its labels behave.

    Traffic triples on day ``surge``. Nine in ten predictions get a label: half of the wrong ones within
    ``wrong_after`` days, because somebody complains, half of the right ones within ``right_after``.
    """

    days: int = 24
    per_day: int = 1000
    accuracy: float = 0.848
    labelled: float = 0.9
    wrong_after: float = 0.45
    right_after: float = 1.8
    spread: float = 0.75
    surge: int = 20

    def rows(self, seed: int) -> Iterator[dict[str, Any]]:
        """Yield a row for each prediction, in the columns that `processor.evaluate` reads. The column
        ``right`` is the truth of the simulation, which nobody knows so early."""
        random = Random(seed)
        for day in range(self.days):
            for number in range(self.per_day * (3 if day >= self.surge else 1)):
                yield self._row(random, day, number)

    def _row(self, random: Random, day: int, number: int) -> dict[str, Any]:
        time = START + timedelta(days=day + random.random())
        predicted, other = ("fraud", "fine") if random.random() < 0.1 else ("fine", "fraud")
        right = random.random() < self.accuracy
        row = {
            "request_id": f"{day}-{number}",
            "deployment": "payments",
            "time": time.isoformat(),
            "prediction": predicted,
            "right": right,
        }
        median = self.right_after if right else self.wrong_after
        delay = random.lognormvariate(log(median), self.spread)
        if random.random() < self.labelled:
            row["actual"] = predicted if right else other
            row["feedback_time"] = (time + timedelta(days=delay)).isoformat()
        return row
