"""Times how soon alerts fire after their causes, in a real Prometheus."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.alerts.causes import HOLDS, Cause
from tests.support.alerts.prometheus import LEAST_FOR, LEAST_RANGE, Prometheus, seconds_of
from tests.support.faults.cluster import until

#: By what all times in the rules are divided: an hour is a second.
FACTOR = 3600.0
#: Seconds until a change is published, scraped and evaluated twice, on a machine with other work.
SLACK = 30.0
HEAD = (
    f"| alert | cause | fired after, with times divided by {FACTOR:g} | of it the rule's own | within | "
    "in full |\n|---|---|--:|--:|--:|--:|"
)


class _Begun(NamedTuple):
    at: float
    labels: Mapping[str, str]


class AlertRig:
    """`begins` notes that a cause begins, and `all_fired` waits for the alerts of all that did."""

    def __init__(self, prometheus: Prometheus, causes: Mapping[str, Cause]) -> None:
        self.rows: list[str] = []
        """The table: one row for each alert that fired."""
        self._prometheus = prometheus
        self._causes = causes
        self._begun: dict[str, _Begun] = {}
        self._fired: dict[str, float] = {}

    def begins(self, *alerts: str, **labels: str) -> None:
        """The cause of these alerts begins now; they must not fire before, on these labels."""
        self.look()
        for alert in alerts:
            self._begun[alert] = _Begun(time.monotonic(), labels)
            assert not self._fires(alert, self._prometheus.alerts()), f"{alert} fires already"

    def fires(self, alert: str) -> bool:
        """Whether the alert fires now, whatever its labels."""
        return alert in self._prometheus.firing()

    def look(self) -> bool:
        """Note which alerts fire; whether all do whose cause has begun."""
        firing, now = self._prometheus.alerts(), time.monotonic()
        for alert, begun in self._begun.items():
            if alert not in self._fired and self._fires(alert, firing):
                self._fired[alert] = now - begun.at
                self.rows.append(self._row(alert))
        return self._fired.keys() == self._begun.keys()

    async def all_fired(self) -> None:
        """Wait for each alert, within its time."""

        def done() -> bool:
            now = time.monotonic()
            return self.look() or all(
                alert in self._fired or now - begun.at > self._limit(alert)
                for alert, begun in self._begun.items()
            )

        await until(done, 900, "alerts")
        missing = self._begun.keys() - self._fired.keys()
        assert not missing, f"not within their time: {sorted(missing)}"
        late = [one for one, took in self._fired.items() if took > self._limit(one)]
        assert not late, f"later than their time: {late}"
        assert not self._prometheus.unwell()

    def show(self) -> None:
        """Print the table so far."""
        print("\n".join([HEAD, *self.rows]))

    def check_whole(self) -> None:
        """Every alert that the run is to cause has fired."""
        assert self._fired.keys() == self._causes.keys()

    def _fires(self, alert: str, firing: list[dict[str, str]]) -> bool:
        wanted = {"alertname": alert, **self._begun[alert].labels}
        return any(wanted.items() <= labels.items() for labels in firing)

    def _limit(self, alert: str) -> float:
        return self._ruled(alert, FACTOR) + SLACK

    def _ruled(self, alert: str, factor: float) -> float:
        """The seconds that the rule itself asks for."""
        cause, holds = self._causes[alert], HOLDS[alert]
        least_for, least_range = (LEAST_FOR, LEAST_RANGE) if factor > 1 else (0.0, 0.0)
        waits = [max(least_range, seconds_of(one) / factor) for one in cause.waits]
        hold = max(least_for, seconds_of(holds) / factor) if holds else 0.0
        return cause.seconds + sum(waits) + hold

    def _row(self, alert: str) -> str:
        took, ruled = self._fired[alert], self._ruled(alert, FACTOR)
        full = took - ruled + self._ruled(alert, 1)
        what = self._causes[alert].what
        limit = self._limit(alert)
        return (
            f"| `{alert}` | {what} | {took:.1f} s | {ruled:.1f} s | {limit:.1f} s | {_text(full)} |"
        )


def _text(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
