"""Debian's headless Chromium, driven over a pair of pipes by its own DevTools protocol: no driver, no port, no socket.

The profile is a throw-away folder. Every request that the browser makes is recorded; whatever is not the file itself
is a breach of the report's promise to need no network.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 60  # seconds for one answer; a machine under load is slow
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check"),
    "--remote-debugging-pipe",  # commands on descriptor 3, answers on 4, each ended by a NUL
)

# Puts the pipes where Chromium wants them, then becomes it.
_MOVE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def binary() -> str:
    """The browser's path; without it the tests cannot say anything, and that is an error."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise FileNotFoundError(
            "Debian's chromium is not installed: run `scripts/setup --lab`, or apt-get install chromium"
        )
    return found


class Chromium:
    """A running browser with one page. As a context it is ended, and its profile removed, whatever happens."""

    def __init__(self) -> None:
        """Start it; raises FileNotFoundError when it is not installed."""
        path = binary()
        self._profile = tempfile.mkdtemp(prefix="clawkeep-chromium-")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        browser = (path, *FLAGS, f"--user-data-dir={self._profile}", "about:blank")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MOVE, str(commands), str(answers), *browser],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._number = 0
        self._scripts = True
        self._session: str | None = None
        self.events: deque[dict[str, Any]] = deque()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        """The browser."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], PATIENCE)[0]:
                raise RuntimeError(f"Chromium said nothing for {PATIENCE} s")
            piece = os.read(self._read, 1 << 16)
            if not piece:
                raise RuntimeError(f"Chromium ended by itself with status {self._process.wait()}")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command; what happens meanwhile is kept in `events`."""
        self._number += 1
        number = self._number
        command = {"id": number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(command | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            message = self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)

    def wait_for(self, event: str) -> None:
        """Until an event of this name has come."""
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._next())

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file; the events of earlier pages are forgotten."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait_for("Page.loadEventFired")
        if self._scripts:
            self.settle()

    def settle(self) -> None:
        """Until the page has drawn two frames and every timer of up to 200 ms has run."""
        self.run("new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 200))")

    def run(self, script: str) -> Any:
        """The value of a script's last expression, promises awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release one key on what has the focus; `code` is its virtual key code."""
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        self.settle()

    def look(self, width: int, height: int, *, scale: float = 1, dark: bool = False, scripts: bool = True) -> None:
        """Be a screen of this size, with or without scripts, that prefers light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme, calm])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self._scripts = scripts

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen as a PNG; `whole` is the page from top to bottom."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened, the page's own included."""
        sent = (e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return list(sent)

    def complaints(self) -> list[str]:
        """What the page's scripts threw, and what its policy refused."""
        told = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                told.append(details.get("exception", {}).get("description", details["text"]))
            if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] in {"error", "warning"}:
                told.append(event["params"]["entry"]["text"])
        return told
