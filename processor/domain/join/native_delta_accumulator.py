"""What changes in the counts, summed up and packed by the compiled part."""

from collections.abc import Sequence

import msgspec

from processor.domain.join.delta_accumulator import DeltaAccumulator, Deltas
from processor.domain.join.judge import Outcome
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import PackedDeltas
from processor.domain.native import native
from processor.telemetry import Telemetry

#: Outcomes remembered, each by its cells: one of a message of many items has as many.
_MEMORY = 50_000


class NativeDeltaAccumulator(DeltaAccumulator):
    """The same as `DeltaAccumulator`; ``ledger`` holds the sums."""

    def __init__(self, state: JoinState, telemetry: Telemetry) -> None:
        super().__init__(state, telemetry)
        self.native = native.DeltaAccumulator()
        self._numbers: dict[Outcome, int] = {}
        self._outcomes: list[Outcome] = []
        self._cells = 0

    def predicted(self, model: int, minute: int, items: int) -> None:
        """See `DeltaAccumulator`."""
        self.native.predicted(model, minute, items)

    def judged(
        self, model: int, predicted_at: int, feedback_at: int, outcome: Outcome, sign: int
    ) -> None:
        """See `DeltaAccumulator`."""
        if self.native.judged(model, predicted_at, feedback_at, self.number(outcome), sign):
            self.add_diagnostics(outcome, sign)

    def number(self, outcome: Outcome) -> int:
        """The number of an outcome in the ledger."""
        number = self._numbers.get(outcome)
        if number is None:
            counts = outcome.counts
            cells = [(*cell, n) for cell, n in counts.cells.items()]
            number = self.native.outcome(counts.totals(), cells, outcome.affects_diagnostics)
            self._numbers[outcome] = number
            self._outcomes.append(outcome)
            self._cells += 1 + len(cells)
        return number

    def count_joined(
        self, delays: Sequence[int], total: float, diagnostics: Sequence[tuple[int, int]]
    ) -> int:
        """Count what beside the ledger follows from first judgements: their delays by bucket and in
        seconds, and how often which outcomes add to gauges. How many judgements they are."""
        for number, times in diagnostics:
            self.add_diagnostics(self._outcomes[number], times)
        self.telemetry.feedback_delay.add(delays, total)
        joined = sum(delays)
        self.telemetry.joined += joined
        return joined

    def drain(self, targets: list[int], head: tuple[int, str, int, int]) -> Deltas:
        """See `DeltaAccumulator`."""
        raw = msgspec.Raw
        found = {
            target: PackedDeltas(*head, -1, raw(models), raw(labels), raw(deltas))
            for target, models, labels, deltas in self.native.drain(self._state.models, targets)
        }
        self._clear_outcomes_if_many()
        return found

    def clear(self) -> None:
        """See `DeltaAccumulator`."""
        self.native.clear()
        self._clear_outcomes_if_many()

    def _clear_outcomes_if_many(self) -> None:
        if self._cells > _MEMORY:
            self.native.clear_outcomes()
            self._numbers.clear()
            self._outcomes.clear()
            self._cells = 0
