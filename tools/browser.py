"""A page in a real browser: Debian's chromium without a window, driven over DevTools.

Chromium speaks the DevTools protocol over a websocket on loopback. That needs one small library;
the larger drivers bring a browser or a driver binary of their own.
"""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_START_S = 30.0
_ANSWER_S = 20.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # also where everything runs as root; the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Give the browser's path; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One open page, and everything that happened on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and give its answer; events that come before it are kept."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if message.get("id") != number:
                self.events.append(message)
            elif "error" in message:
                raise RuntimeError(f"{method}: {message['error']['message']}")
            else:
                return dict(message["result"])

    def named(self, method: str) -> list[dict[str, Any]]:
        """Give the parameters of the events of this name so far."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        for _ in _until(_ANSWER_S):
            self.evaluate("0")  # takes in what happened meanwhile
            if self.named("Page.loadEventFired"):
                return
        raise TimeoutError(f"{path} did not load")

    def evaluate(self, expression: str) -> Any:
        """Give the value of a JavaScript expression on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")

    def resize(self, width_px: int, height_px: int, scale: float = 1.0) -> None:
        """Give the page a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=scale,
            mobile=width_px < 700,
        )

    def emulate(self, media: str = "", scheme: str = "light") -> None:
        """Show the page as on `print` or `screen`, to somebody who likes light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def click(self, selector: str) -> None:
        """Press and let go the mouse in the middle of an element."""
        x, y = self.evaluate(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            "it.scrollIntoView({block: 'center'}); const box = it.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, text: str = "") -> None:
        """Press and let go a key, such as Tab or Enter; `text` is what it types."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        common = {"key": key, "code": key.strip() or "Space", "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, whole: bool = False) -> bytes:
        """Give what the screen shows as PNG, or the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """Give the page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])


@contextmanager
def browser_page(executable: str) -> Iterator[Page]:
    """Start the browser with a profile of its own and give its one page; end it afterwards.

    Raises:
        TimeoutError: it does not start.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
            try:
                address = _page_address(Path(profile) / "DevToolsActivePort")
                with connect(address, max_size=None, proxy=None) as socket:
                    yield Page(socket)
            finally:
                process.terminate()
                process.wait(timeout=_ANSWER_S)


def _page_address(port_file: Path) -> str:
    """Read where the browser listens, and ask it for its page."""
    host = _host(port_file)
    with connect(host[1], max_size=None, proxy=None) as socket:
        for _ in _until(_START_S):
            socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(socket.recv(timeout=_ANSWER_S))["result"]["targetInfos"]
            for target in targets:
                if target["type"] == "page":
                    return f"{host[0]}/devtools/page/{target['targetId']}"
    raise TimeoutError("the browser opened no page")


def _host(port_file: Path) -> tuple[str, str]:
    """Wait for the file in which the browser says where it listens; give host and address."""
    for _ in _until(_START_S):
        lines = port_file.read_text().split() if port_file.exists() else []
        if len(lines) == 2:
            host = f"ws://127.0.0.1:{lines[0]}"
            return host, host + lines[1]
    raise TimeoutError("the browser did not start")


def _until(seconds: float) -> Iterator[None]:
    """Go round, with a short rest each time, until the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
