"""Whether a request has a prediction, as the answer to its feedback says."""

from types import SimpleNamespace

import pytest

from processor.domain.join.fold import JoinFold
from processor.service.health import ServiceHealth
from processor.service.known_requests import KnownRequests
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import MODEL, feedback, pack, prediction


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("found", [True, False, None])
async def test_while_the_archive_is_read_a_prediction_may_still_come(
    complete: bool, found: bool | None
) -> None:
    health = ServiceHealth(Telemetry(), SimpleNamespace())  # type: ignore[arg-type]
    known = KnownRequests(health)
    assert known.known("n", "d", "r") is None
    health.worker = SimpleNamespace(known=lambda *names: found)
    if complete:
        health.bootstrap_complete.set()
    expected = None if found is False and not complete else found
    assert known.known("n", "d", "r") is expected


def test_a_request_has_a_prediction_only_if_one_was_read() -> None:
    fold = JoinFold("log", 0, 1, None, Telemetry())
    fold.apply(0, 1, pack(prediction("r1"), feedback("r2")))
    names = MODEL.namespace, MODEL.deployment
    assert fold.has_prediction(*names, "r1")
    assert not fold.has_prediction(*names, "r2")
    assert not fold.has_prediction(*names, "r3")
    assert not fold.has_prediction(names[0], "other", "r1")
