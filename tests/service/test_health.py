"""The health of a service whose worker has not started, and what its parts add to it."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from processor.errors import BrokerError
from processor.kafka.lag import ProgressSample
from processor.publish.interfaces import Gauges, OwnedPartitions
from processor.service.health import ServiceHealth
from processor.service.watchdog import Watchdog
from processor.telemetry import Telemetry


async def _no_samples() -> Sequence[ProgressSample]:
    return ()


def _health() -> ServiceHealth:
    return ServiceHealth(Telemetry(), Watchdog(_no_samples, lambda error: None))


def _worker() -> Any:
    return SimpleNamespace(
        is_ready=True,
        owned=OwnedPartitions((0,), (1,)),
        gauges=lambda: Gauges(recovery_seconds=0.5),
    )


async def test_a_worker_that_has_not_started_is_alive_and_not_ready() -> None:
    health = _health()
    assert health.alive() == (True, "ok")
    assert not health.ready().ready
    health.start_error = BrokerError("kafka:9092 does not answer", "check it")
    assert health.ready().reason == "kafka:9092 does not answer: check it"
    (problem,) = health.problems()
    assert (problem.cause, problem.remedy, problem.unready) == ("broker", "check it", True)
    assert replace(health.gauges(), native_templates=None, native_plans=None) == Gauges()


async def test_parts_report_their_errors_once_and_their_gauges() -> None:
    health, worker = _health(), _worker()
    health.worker = cast(Any, worker)
    parts = [SimpleNamespace(last_error="") for _ in range(3)]
    for part, cause in zip(parts, ("archive", "source", "archive"), strict=True):
        health.add(part, cause)
    health.add(SimpleNamespace(last_error=""), outcomes_waiting=lambda: 7)
    assert health.ready().reason == "ok"
    parts[0].last_error = parts[2].last_error = "the archive does not answer"
    parts[1].last_error = "source topics missing: a"
    readiness = health.ready()
    assert readiness.ready
    assert readiness.reason == "the archive does not answer; source topics missing: a"
    health.lag = 3
    health.bootstrap_complete.set()
    gauges = health.gauges()
    assert (gauges.outcomes_waiting, gauges.consumer_lag_records) == (7, 3)
    assert (gauges.bootstrap_complete, gauges.recovery_seconds) == (1, 0.5)


async def test_a_failure_ends_life_and_readiness() -> None:
    health = _health()
    health.worker = cast(Any, _worker())
    health.failure = "the broker is gone"
    assert health.alive() == (False, "the broker is gone")
    assert (health.ready().ready, health.ready().reason) == (False, "the broker is gone")
