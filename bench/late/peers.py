"""The accuracy of each day by chainladder and by lifelines, from the labels that are in at midnight.

It runs in an environment of its own. It reads JSON: ``triangles``, the judged items by outcome, day and
age in days, and ``observed``, by day rows of (duration in days, outcome, items), where the outcome is 1
for right, 2 for wrong, and 0 without a label so far. It writes the accuracies by tool and day; NaN where
a tool was not asked for a day.
"""

import json
import sys
from typing import Any

import chainladder
import numpy as np
import pandas as pd
from lifelines import AalenJohansenFitter, KaplanMeierFitter

_MATURE_DAYS, _HOURS = 7, 24
#: The latest days, which Aalen and Johansen's estimate is made of.
_LAST_DAYS = 3

#: (duration in days, outcome, items)
Row = tuple[float, int, int]


def by_chainladder(triangles: dict[str, list[list[int]]]) -> list[float]:
    """The ultimate items of each outcome by the chain ladder; days stand as months, which it knows."""
    finals = {}
    for outcome, days in triangles.items():
        months = pd.period_range("2000-01", periods=2 * len(days), freq="M")
        rows = [
            (str(months[day]), str(months[day + age]), items)
            for day, ages in enumerate(days)
            for age, items in enumerate(ages)
        ]
        table = pd.DataFrame(rows, columns=["day", "at", "items"])
        table["day"], table["at"] = pd.to_datetime(table["day"]), pd.to_datetime(table["at"])
        triangle = chainladder.Triangle(
            table, origin="day", development="at", columns="items", cumulative=False
        ).incr_to_cum()
        model = chainladder.Chainladder().fit(chainladder.Development().fit_transform(triangle))
        finals[outcome] = model.ultimate_.to_frame().iloc[:, 0].tolist()
    return _accuracies(*finals.values())


def by_kaplan_meier(observed: list[list[Row]]) -> list[float]:
    """Judged items divided by the share of Kaplan and Meier's distribution of the mature ones that is
    in, the mean over the hours of each day."""
    count = len(observed)
    mature = np.array([row for day in observed[:-_MATURE_DAYS] for row in day])
    finals = []
    for outcome in (1, 2):
        durations, _, items = mature[mature[:, 1] == outcome].T
        fitted = KaplanMeierFitter().fit(durations, weights=items)
        ages = [
            count - day - (hour + 0.5) / _HOURS for day in range(count) for hour in range(_HOURS)
        ]
        shares = (1 - fitted.predict(ages).to_numpy()).reshape(count, _HOURS).mean(axis=1)
        judged = [sum(n for _, each, n in rows if each == outcome) for rows in observed]
        finals.append(
            [n / share if share else float("nan") for n, share in zip(judged, shares, strict=True)]
        )
    return _accuracies(*finals)


def by_aalen_johansen(observed: list[list[Row]]) -> list[float]:
    """Right and wrong as competing outcomes of a prediction: the share of right ones at maturity. A
    day's own items give what happens up to its age, and the mature ones, which enter there, what
    happens from then on."""
    mature = np.array([row for day in observed[:-_MATURE_DAYS] for row in day])
    found = [float("nan")] * (len(observed) - _LAST_DAYS)
    for back in range(_LAST_DAYS, 0, -1):
        older = mature[mature[:, 0] > back]
        own = np.array(observed[-back])
        durations, outcomes, items = np.concatenate([own, older]).T
        entries = np.concatenate([np.zeros(len(own)), np.full(len(older), back)])
        right, wrong = (
            AalenJohansenFitter(calculate_variance=False)
            .fit(durations, outcomes.astype(int), outcome, entry=entries, weights=items)
            .cumulative_density_.iloc[-1, 0]
            for outcome in (1, 2)
        )
        found.append(float(right / (right + wrong)))
    return found


def _accuracies(right: list[float], wrong: list[float]) -> list[float]:
    return [one / (one + other) for one, other in zip(right, wrong, strict=True)]


def main() -> None:
    """Answer one request on stdin."""
    asked: dict[str, Any] = json.load(sys.stdin)
    observed = asked["observed"]
    answer = {
        "chainladder": by_chainladder(asked["triangles"]),
        "lifelines, Kaplan-Meier by outcome": by_kaplan_meier(observed),
        "lifelines, Aalen-Johansen": by_aalen_johansen(observed),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
