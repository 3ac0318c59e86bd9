"""A real Chromium, steered over its DevTools protocol, that tells of every error and request."""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.servers.process import ServerProcess

_SECONDS = 60


class Page:
    """One tab. ``troubles`` are console errors and exceptions, ``requests`` the addresses asked
    for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self._socket = socket
        self._number = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a DevTools method; what happens meanwhile is noted."""
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    async def open(self, path: Path, width: int, dark: bool = False) -> None:
        """Show a file, and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Page.navigate", url=path.as_uri())
        while await self.evaluate("document.readyState") != "complete":
            await self._receive()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        found = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=_SECONDS)
        method, params = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded":
            self.troubles.append(str(params["entry"]))
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.troubles.append(str(params))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A page of a browser with a fresh profile in ``folder``."""
    program = shutil.which("chromium")
    assert program, "chromium is not on PATH: install the package 'chromium'"
    browser = ServerProcess(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={folder / 'profile'}", "about:blank",
        ],
        folder, folder / "chromium.log",
    )  # fmt: skip
    try:
        port_file = folder / "profile" / "DevToolsActivePort"
        await asyncio.to_thread(
            browser.wait_ready,
            lambda: port_file.exists() and "\n" in port_file.read_text(),
            _SECONDS,
        )
        port = port_file.read_text().split("\n")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tabs = json.loads(await answer.text())
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=1 << 27) as socket:
                yield Page(socket)
    finally:
        browser.stop()
