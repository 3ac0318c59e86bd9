"""Fixtures for the publishing side."""

import pytest

from processor.domain.statistics.counts import Counts
from tests.support.fakes import EXPERIMENT, UNJUDGED, FakeBoard, FakeHealth, experiment_counts


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard({UNJUDGED: Counts(predictions=5), EXPERIMENT: experiment_counts()})


@pytest.fixture
def health() -> FakeHealth:
    return FakeHealth()
