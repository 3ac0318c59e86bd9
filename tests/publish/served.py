"""A site of plain data on a free port, and what a tab shows of it."""

from dataclasses import dataclass, field

from aiohttp.test_utils import TestServer

from processor.publish.site import make_site
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.browser import Page
from tests.support.fakes import NOW, FakeBoard, FakeHealth

#: True as soon as the page shows a model.
SHOWN = "Boolean(document.querySelector('#name h2'))"


@dataclass
class Site:
    """What the page shows, to be changed while it is served."""

    board: FakeBoard
    health: FakeHealth = field(default_factory=FakeHealth)
    telemetry: Telemetry = field(default_factory=Telemetry)
    settings: Settings = field(default_factory=Settings)
    ingress_url: str = ""

    async def serve(self) -> TestServer:
        """Started; the caller closes it."""
        site = make_site(
            self.board,
            self.health,
            self.telemetry,
            self.settings,
            lambda: NOW,
            lambda: self.ingress_url,
        )
        self.server = TestServer(site)
        await self.server.start_server()
        return self.server


async def text(page: Page, selector: str) -> str:
    """What the first such element shows, with plain blanks in numbers."""
    found = await page.run(f"document.querySelector({selector!r}).innerText")
    return str(found).replace("\u202f", " ")
