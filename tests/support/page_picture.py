"""Take the README's picture, the live page of the demo, in a real Chromium:

python -m tests.support.page_picture docs/img/page.png
"""

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from tests.support.browser import chromium_page
from tests.support.demo import running_demo
from tests.support.servers.shared import SharedThings, hold

_WIDTH = 1165


async def take(url: str, path: Path) -> None:
    """Save the page at ``url`` as PNG, without the card of the worker."""
    async with chromium_page() as page:
        await page.look(_WIDTH)
        await page.open(url)
        await page.until("document.querySelectorAll('#over-time rect.band').length > 3")
        await page.run("document.querySelector('footer').remove()")
        await page.run("document.querySelector('#work').remove()")
        height = await page.run("document.documentElement.scrollHeight")
        await page.look(_WIDTH, height)
        await page.photo(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.support.page_picture FILE.png")
    with closing(SharedThings()) as things, running_demo() as demo:
        hold(things)
        asyncio.run(take(demo.page, Path(sys.argv[1])))
