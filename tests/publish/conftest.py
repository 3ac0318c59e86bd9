"""Fixtures of the tests of the metrics port."""

import re
from collections.abc import AsyncIterator

import pytest

from processor.domain.statistics.counts import Counts
from tests.publish.served import close_served
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
    """A browser tab; an error in it, or a request to another server, fails the test."""
    try:
        async with chromium_page() as page:
            yield page
            assert page.errors == []
            local = re.compile(r"http://([^/@]*@)?127\.0\.0\.1:|data:")
            assert [url for url in page.asked if not local.match(url)] == []
    finally:
        await close_served()
