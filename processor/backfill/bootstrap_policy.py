"""How a bootstrap counts a document: normally, only for a request in memory, or without keeping it."""

from collections.abc import Callable, Sequence

from processor.domain.events.documents import Document
from processor.domain.join.fold import JoinFold
from processor.domain.join.outcomes import RequestOutcome, outcome_of
from processor.domain.log.observations import BatchBuilder, Feedback, IngestMode, Prediction
from processor.domain.timestamps import HOUR
from processor.telemetry import Telemetry

#: All observations of a completed request, which is counted and not kept.
Pair = tuple[Prediction, Feedback | None]

#: How long (ns) before a request leaves memory its documents are treated as if it had left: documents
#: take a while from the archive to the join.
_MARGIN = 2 * HOUR


def in_memory_from(now: int, horizon: int, evicted: int = 0) -> int:
    """Return the time since which each request that was ever on the log is still in memory.

    All times are in ns. Requests from before ``evicted`` may have left memory early.
    """
    return max(now - horizon, evicted) + min(_MARGIN, horizon // 2)


class BootstrapPolicy:
    """Decides how the documents of one pass are counted. Times are in ns.

    ``completed_before``: a request whose latest event is older is counted and not kept; None if all are
    kept. Requests of the deployments in ``multi_predictor`` are always kept: feedback in one document
    judges the predictions of several predictors, which have their own documents. ``counted_before``:
    given at later starts; older events were on the log, and are counted only if their request is in
    memory.
    """

    def __init__(
        self,
        completed_before: int | None = None,
        multi_predictor: frozenset[tuple[str, str]] | None = None,
        counted_before: Callable[[], int] | None = None,
    ) -> None:
        self._completed_before = completed_before
        self._multi_predictor = multi_predictor or frozenset()
        self._counted_before = counted_before

    @property
    def all_completed_before(self) -> int | None:
        """The time (ns) before which documents are pairs if `pair` returned one for a similar document.

        None if `pair` must be called for each document.
        """
        return None if self._counted_before is not None else self._completed_before

    def mode(self, times: Sequence[int]) -> IngestMode:
        """Return the mode of a document that is not a pair; ``times`` are those of its events."""
        return (
            IngestMode.IF_PRESENT if self._is_counted(min(times, default=0)) else IngestMode.NORMAL
        )

    def _is_counted(self, oldest: int) -> bool:
        # The oldest time decides: if feedback is from yesterday, and its prediction has left memory,
        # both were counted.
        return self._counted_before is not None and oldest < self._counted_before()

    def pair(
        self, document: Document, observations: Sequence[Prediction | Feedback]
    ) -> Pair | None:
        """Return the prediction and the feedback of a completed request, which is not kept.

        None if the request must be kept, or if the document does not hold all of it.
        """
        before = self._completed_before
        if before is None or not observations:
            return None
        prediction, *others = observations
        if (
            not isinstance(prediction, Prediction)
            or prediction.time >= before
            or self._is_counted(prediction.time)
            # A batch has several documents, and its feedback is in another one.
            or document.id != prediction.request_id
            or (prediction.model.namespace, prediction.model.deployment) in self._multi_predictor
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
    """Return the outcomes of the pairs with feedback, as the join resolves them."""
    builder = BatchBuilder()
    for prediction, feedback in pairs:
        if feedback is not None:
            builder.add(prediction)
            builder.add(feedback)
    fold = JoinFold("", 0, 1, None, Telemetry())
    fold.apply(0, 0, builder.build(""))
    outcomes = [outcome_of(fold, ref) for ref, _ in fold.refs()]
    return [outcome for outcome in outcomes if outcome is not None]
