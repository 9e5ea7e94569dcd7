"""A headless Chromium that tests steer, through its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-default-browser-check", "--mute-audio", "--hide-scrollbars", "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
    "--remote-debugging-port=0",
)  # fmt: skip


def find_chromium() -> str | None:
    """Its path, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(address, max_size=64 << 20, open_timeout=30, proxy=None)
        self._numbers = itertools.count(1)

    def call(self, method: str, timeout_s: float = 60.0, **params: Any) -> dict[str, Any]:
        """One DevTools command; its result. Raises RuntimeError with what the browser says."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + timeout_s
        while True:
            answer = json.loads(self._socket.recv(timeout=max(0.1, deadline - time.monotonic())))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def evaluate(self, script: str, timeout_s: float = 60.0) -> Any:
        """The value of an expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate",
            timeout_s,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def goto(self, url: str, timeout_s: float = 30.0) -> None:
        """Opens a page and waits until it is loaded."""
        answer = self.call("Page.navigate", timeout_s, url=url)
        if "errorText" in answer:
            raise RuntimeError(f"{url}: {answer['errorText']}")
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def until(self, condition: str, timeout_s: float = 30.0) -> Any:
        """Waits for an expression to become true; its value."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(RuntimeError):  # the page is just being replaced
                if found := self.evaluate(condition):
                    return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"never came true in the page: {condition}")
            time.sleep(0.05)

    def screenshot(self, *, transparent: bool = False) -> bytes:
        """PNG of what is seen; with `transparent` over nothing, as OBS takes it."""
        colour = {"color": {"r": 0, "g": 0, "b": 0, "a": 0}} if transparent else {}
        self.call("Emulation.setDefaultBackgroundColorOverride", **colour)
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def browsing(*flags: str, start_s: float = 60.0) -> Iterator[Page]:
    """A browser of its own with one empty tab; ended with everything it started."""
    program = find_chromium()
    assert program is not None, "Chromium is not installed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log"
        with log.open("wb") as written:
            browser = subprocess.Popen(
                [program, *_FLAGS, *flags, f"--user-data-dir={profile}/profile", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        page: Page | None = None
        try:
            page = Page(_tab(Path(profile) / "profile", browser, log, start_s))
            yield page
        finally:
            if page is not None:
                page.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def _tab(profile: Path, browser: subprocess.Popen[bytes], log: Path, start_s: float) -> str:
    """The address of the empty tab's DevTools."""
    import urllib.request

    known = profile / "DevToolsActivePort"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline and browser.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            port = int(known.read_text().split()[0])
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise RuntimeError(f"Chromium did not start: {log.read_text(errors='replace')[-2000:]}")
