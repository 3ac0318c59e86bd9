"""Fixtures for the publishing side."""

import re
from collections.abc import AsyncIterator

import pytest

from processor.domain.statistics.counts import Counts
from tests.support.browser import Page, chromium_page
from tests.support.fakes import EXPERIMENT, UNJUDGED, FakeCounts, FakeHealth, experiment_counts


@pytest.fixture
def counts_source() -> FakeCounts:
    return FakeCounts({UNJUDGED: Counts(predictions=5), EXPERIMENT: experiment_counts()})


@pytest.fixture
def health() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A tab; what it does wrong, or asks of anybody else, fails the test."""
    async with chromium_page() as page:
        yield page
        assert page.errors == []
        outside = [url for url in page.asked if not re.match(r"http://127\.0\.0\.1:|data:", url)]
        assert outside == []
