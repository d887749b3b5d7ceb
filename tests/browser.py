"""A headless Chromium that opens a page and tells what happened, by its DevTools protocol over a pipe."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--no-first-run", "--disable-gpu", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE = 120  # seconds for an answer


def find() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def _above_9(end: int) -> int:
    """The same end of a pipe under a number of two digits."""
    moved = fcntl.fcntl(end, fcntl.F_DUPFD, 10)
    os.close(end)
    return moved


class Browser:
    """One tab of a Chromium; `events` are those of the page that was opened last, by name.

    `send("Page.navigate", url=...)` sends a command of the protocol and returns its result.
    """

    def __init__(self, path: str, folder):
        (child_in, self._out), (self._in, child_out) = os.pipe(), os.pipe()
        # Chromium reads commands from 3 and answers on 4, which the pipes themselves must not be.
        child_in, child_out = _above_9(child_in), _above_9(child_out)
        pipes = f'exec "$0" "$@" 3<&{child_in} 4>&{child_out}'
        command = ["bash", "-c", pipes, path, f"--user-data-dir={folder}", *FLAGS]
        self._process = subprocess.Popen(
            command, pass_fds=(child_in, child_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(child_in)
        os.close(child_out)
        self._number, self._held, self._session, self.events = 0, b"", None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params) -> dict:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        asked |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def open(self, url: str, *, width: int = 1200, dark: bool = False) -> list[dict]:
        """Opens a page and returns its events once it has been loaded."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events = []
        self.send("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()
        return self.events

    def value(self, expression: str):
        """What a JavaScript expression gives on the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._in, self._out):
            with contextlib.suppress(OSError):
                os.close(end)

    def _receive(self) -> dict:
        """The next message; those without an answer's number are kept as events."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._held:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium said nothing for {PATIENCE} s")
            part = os.read(self._in, 1 << 16)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._held += part
        line, _, self._held = self._held.partition(b"\0")
        message = json.loads(line)
        if "id" not in message:
            self.events.append(message)
        return message
