"""How a bootstrap takes documents: as they are, only for what is in memory, or counted and not kept."""

from collections.abc import Callable, Sequence

from processor.domain.events.documents import Document
from processor.domain.join.fold import JoinFold
from processor.domain.join.outcomes import RequestOutcome, outcome_of
from processor.domain.log.observations import BatchBuilder, Feedback, IngestMode, Prediction
from processor.domain.timestamps import HOUR
from processor.telemetry import Telemetry

Pair = tuple[Prediction, Feedback | None]

#: How long before a request leaves memory a document counts as one of a request that has left it:
#: what is read is on its way for a while.
_MARGIN = 2 * HOUR


def in_memory_from(now: int, horizon: int, evicted: int = 0) -> int:
    """From this time on every request is in memory, if it was ever on the log; all in ns. Those from
    before ``evicted`` may have left it early."""
    return max(now - horizon, evicted) + min(_MARGIN, horizon // 2)


class BootstrapPolicy:
    """What a pass does with a document. Times are in ns.

    ``settle_before``: a request whose newest time is older is counted whole and not kept, None = all
    are kept; not where a deployment is ``crowded``: a truth in one document judges the predictions of
    several predictors, in documents of their own. ``counted_before``: given at later starts; what is
    older was on the log, and counts only where it is in memory.
    """

    def __init__(
        self,
        settle_before: int | None = None,
        multi_predictor: frozenset[tuple[str, str]] | None = None,
        counted_before: Callable[[], int] | None = None,
    ) -> None:
        self._settle_before = settle_before
        self._crowded = multi_predictor or frozenset()
        self._counted_before = counted_before

    @property
    def settles_before(self) -> int | None:
        """Documents that say nothing later (ns) are pairs, where `pair` takes one like them; None if
        each has to be asked for."""
        return None if self._counted_before is not None else self._settle_before

    def mode(self, times: Sequence[int]) -> IngestMode:
        """Those of a document that is no `pair`, by the times of what it says."""
        return (
            IngestMode.IF_PRESENT if self._is_counted(min(times, default=0)) else IngestMode.NORMAL
        )

    def _is_counted(self, oldest: int) -> bool:
        # By the oldest: with a feedback of yesterday and a prediction that has left memory, both
        # were counted.
        return self._counted_before is not None and oldest < self._counted_before()

    def pair(self, document: Document, said: Sequence[Prediction | Feedback]) -> Pair | None:
        """What is counted and not kept: all that there is of a request, in one document."""
        before = self._settle_before
        if before is None or not said:
            return None
        prediction, *others = said
        if (
            not isinstance(prediction, Prediction)
            or prediction.time >= before
            or self._is_counted(prediction.time)
            # A batch has several documents, its feedback another one.
            or document.id != prediction.request_id
            or (prediction.model.namespace, prediction.model.deployment) in self._crowded
            or len(others) > 1
        ):
            return None
        feedback = others[0] if others else None
        if feedback is None:
            return prediction, None
        if not isinstance(feedback, Feedback) or feedback.time >= before:
            return None
        return prediction, feedback


def outcomes_of_pairs(pairs: Sequence[Pair]) -> list[RequestOutcome]:
    """What the judged ones count as: the join's own judgement."""
    builder = BatchBuilder()
    for prediction, feedback in pairs:
        if feedback is not None:
            builder.add(prediction)
            builder.add(feedback)
    fold = JoinFold("", 0, 1, None, Telemetry())
    fold.apply(0, 0, builder.build(""))
    found = [outcome_of(fold, ref) for ref, _ in fold.refs()]
    return [outcome for outcome in found if outcome is not None]
