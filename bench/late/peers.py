"""The accuracy of each day by chainladder and by lifelines, from the labels that are in at midnight.

It runs in an environment of its own. It reads the judged items by outcome, day and age in days as JSON,
and the delays of mature items in days, and writes two lists of accuracies, by day.
"""

import json
import sys
from typing import Any

import chainladder
import pandas as pd
from lifelines import KaplanMeierFitter


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
    return [right / (right + wrong) for right, wrong in zip(*finals.values(), strict=True)]


def by_lifelines(
    triangles: dict[str, list[list[int]]], delays: dict[str, list[float]]
) -> list[float]:
    """Judged items divided by the share of Kaplan and Meier's distribution that is in, the mean over the
    hours of each day."""
    finals = {}
    for outcome, days in triangles.items():
        fitted = KaplanMeierFitter().fit(delays[outcome])
        ages = [len(ages) - (hour + 0.5) / 24 for ages in days for hour in range(24)]
        shares = (1 - fitted.predict(ages).to_numpy()).reshape(len(days), 24).mean(axis=1)
        finals[outcome] = [
            sum(ages) / share if share else float("nan")
            for ages, share in zip(days, shares, strict=True)
        ]
    return [right / (right + wrong) for right, wrong in zip(*finals.values(), strict=True)]


def main() -> None:
    """Answer one request on stdin."""
    asked: dict[str, Any] = json.load(sys.stdin)
    triangles, delays = asked["triangles"], asked["delays"]
    answer = {
        "chainladder": by_chainladder(triangles),
        "lifelines": by_lifelines(triangles, delays),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
