"""The metrics port of a worker of plain data, and the text that a browser tab shows of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp.test_utils import TestServer

from processor.publish.interfaces import WorkerView
from processor.publish.site import make_site
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.browser import Page
from tests.support.fakes import NOW, FakeCounts, FakeHealth

#: True as soon as the page shows a model.
SHOWN = "Boolean(document.querySelector('#name h2'))"


@dataclass
class Site(WorkerView):
    """A worker of plain data, which a test may change while it is served."""

    counts_source: FakeCounts
    health: FakeHealth = field(default_factory=FakeHealth)
    telemetry: Telemetry = field(default_factory=Telemetry)
    settings: Settings = field(default_factory=Settings)
    clock: Callable[[], float] = lambda: NOW

    async def serve(self) -> TestServer:
        """Start a server on a free port; `close_served` closes it."""
        server = TestServer(make_site(self))
        await server.start_server()
        _SERVED.append(server)
        return server


#: The servers that a test has started.
_SERVED: list[TestServer] = []


async def close_served() -> None:
    """To be called when no page asks any more: a page that finds nobody says so."""
    while _SERVED:
        await _SERVED.pop().close()


async def text(page: Page, selector: str) -> str:
    """The text of the first element of the selector, with plain spaces in its numbers."""
    found = await page.run(f"document.querySelector({selector!r}).innerText")
    return str(found).replace("\u202f", " ")
