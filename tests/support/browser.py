"""A real Chromium without a window, controlled over its DevTools protocol.

One runs for all tests. Each page is in a browser context of its own, which shares no storage, cookies or
cache with another.
"""

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.support.servers.maven import ServerError
from tests.support.servers.process import ServerProcess
from tests.support.servers.shared import shared

_OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page behind that of another test works as fast as one in front.
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--no-first-run",
    "--remote-debugging-port=0",
    # Nothing outside this machine can be reached, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_PATIENCE = 60.0


class _Connection:
    """Commands to the browser or to one page, and what it reports."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        """Receive answers and reports until the connection is closed."""
        async for message in self._socket:
            content = json.loads(message.data)
            if waiting := self._waiting.pop(content.get("id", 0), None):
                if "error" in content:
                    waiting.set_exception(AssertionError(content["error"]["message"]))
                else:
                    waiting.set_result(content["result"])
            else:
                self._note(content.get("method", ""), content.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        """What is reported without having been asked for."""

    async def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol, and its answer."""
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(waiting, _PATIENCE)


class Page(_Connection):
    """One tab. ``errors`` are uncaught exceptions, console errors and failed loads so far; ``asked``
    are the addresses that it requested."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(socket)
        self.errors: list[str] = []
        self.asked: list[str] = []
        self._loaded = asyncio.Event()

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def open(self, url: str) -> None:
        """Go there, and wait until it has loaded."""
        self._loaded.clear()
        answer = await self.call("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        await asyncio.wait_for(self._loaded.wait(), _PATIENCE)

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = _PATIENCE) -> Any:
        """The value of the expression as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (value := await self.run(script)):
            if time.monotonic() > deadline:
                text = await self.run("document.body.innerText")
                raise AssertionError(f"not after {seconds:g} s: {script}\n{self.errors}\n{text}")
            await asyncio.sleep(0.05)
        return value

    async def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """As on a screen of this size (CSS pixels), light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        # Else a picture of the page ends where the scrollbar would begin.
        await self.call("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def key(self, name: str) -> None:
        """Press and let go of a key such as "Tab" or "ArrowDown"."""
        codes = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowUp": 38, "ArrowDown": 40}
        codes |= {"ArrowLeft": 37, "ArrowRight": 39}
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
        await self.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            key=name,
            code=name,
            windowsVirtualKeyCode=codes.get(name, 0),
            text=text,
        )
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    async def photo(self, path: Path) -> None:
        """The whole page as PNG."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def running_chromium() -> Iterator[str]:
    """A browser without pages; the address of its DevTools."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise ServerError("chromium is not on PATH: install the package 'chromium'")
    # Chromium's sandbox refuses to run for root, as in a container.
    options = (*_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else []))
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = [program, *options, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        process = ServerProcess(command, folder, folder / "log", {**os.environ, "HOME": name})
        port_file = folder / "profile" / "DevToolsActivePort"
        try:
            process.wait_ready(lambda: port_file.exists() and port_file.stat().st_size > 0, 60)
            yield f"127.0.0.1:{port_file.read_text().split()[0]}"
        finally:
            process.stop(5)


@asynccontextmanager
async def chromium_page() -> AsyncIterator[Page]:
    """A fresh tab, closed with the block."""
    address = await asyncio.to_thread(shared, running_chromium)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/json/version") as answer:
            url = (await answer.json())["webSocketDebuggerUrl"]
        async with _connected(session, url, _Connection) as browser:
            context = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
            target = await browser.call("Target.createTarget", url="about:blank", **context)
            url = f"ws://{address}/devtools/page/{target['targetId']}"
            async with _connected(session, url, Page) as page:
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                # Keys reach it whichever page has the focus of the browser.
                await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
                yield page
            await browser.call("Target.disposeBrowserContext", **context)


C = TypeVar("C", bound=_Connection)


@asynccontextmanager
async def _connected(session: aiohttp.ClientSession, url: str, kind: type[C]) -> AsyncIterator[C]:
    async with session.ws_connect(url, max_msg_size=0) as socket:
        connection = kind(socket)
        listening = asyncio.create_task(connection.listen())
        try:
            yield connection
        finally:
            listening.cancel()
