"""Runs Debian's Chromium, to see our pages as a browser does."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.peers.registry import Peer, register

# No sandbox: tests run as root in containers, and load nothing but our own pages. The rest keeps it from
# talking to anybody else.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def path() -> str | None:
    """The program, when it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@cache
def _version() -> str | None:
    program = path()
    if program is None:
        return None
    printed = subprocess.run(
        [program, "--version", "--no-sandbox"], capture_output=True, text=True, check=False
    )
    match = re.search(r"\d+(\.\d+)+", printed.stdout)
    return match[0] if match else ""


PEER = register(Peer("Chromium", _version, "install Debian's chromium"))


def screenshot(url: str, target: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
    """Write a PNG of the page at `url`; raises TimeoutExpired after a minute, else CalledProcessError."""
    options = [f"--window-size={width},{height}", f"--screenshot={target}", "--virtual-time-budget=5000"]
    if dark:
        options.append("--force-dark-mode")
    _run(options, url)
    if not target.exists():
        raise FileNotFoundError(f"Chromium made no picture of {url}.")


def rendered(url: str) -> str:
    """The page's HTML after its scripts have run."""
    return _run(["--dump-dom", "--virtual-time-budget=5000"], url)


def _run(options: list[str], url: str) -> str:
    program = path()
    if program is None:
        raise FileNotFoundError("Chromium is not installed.")
    with tempfile.TemporaryDirectory(prefix="coprod-chromium-", ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [program, *FLAGS, f"--user-data-dir={profile}", *options, url],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    return done.stdout


class Browser:
    """A Chromium that a test uses as a person does: it goes to pages, follows links, fills and sends forms.

    It is driven by Chromium's own protocol over a pipe (--remote-debugging-pipe), with cookies of its own.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="coprod-chromium-", ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        program = path()
        if program is None:
            raise FileNotFoundError("Chromium is not installed.")
        command = [program, *FLAGS, "--remote-debugging-pipe", f"--window-size={width},{height}"]
        command.append(f"--user-data-dir={self._profile.name}")
        # Chromium reads from descriptor 3 and writes to 4.
        moved = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", moved, "-", *command],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest = 0, b""
        self.refused: list[str] = []
        """What the browser itself refused to do, such as by a Content-Security-Policy."""
        page = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": page, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", metrics)

    def go(self, url: str) -> None:
        """Open a page, and wait until it is there."""
        self.call("Page.navigate", {"url": url})
        self._settle()

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first element that fits and has this text, and wait for the page that comes."""
        chosen = f"document.querySelectorAll({json.dumps(selector)})"
        found = self.run(
            f"(() => {{ const one = [...{chosen}].find(e => e.textContent.includes({json.dumps(text)}));"
            " one?.click(); return !!one; })()"
        )
        if not found:
            raise LookupError(f"No {selector} with {text!r} on {self.url}:\n{self.text[:2000]}")
        self._settle()

    def fill(self, selector: str, text: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(text)}")

    def run(self, script: str) -> Any:
        """What a script gives on the page."""
        answer = self.call("Runtime.evaluate", {"expression": script, "returnByValue": True})
        return answer["result"].get("value")

    @property
    def url(self) -> str:
        return str(self.run("location.href"))

    @property
    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    @property
    def width(self) -> int:
        """How wide the page is, which is more than the window if one has to scroll sideways."""
        return int(self.run("document.documentElement.scrollWidth"))

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("Network.getCookies")["cookies"]
        return found

    def picture(self, target: Path, *, whole: bool = True) -> None:
        """Write a PNG of the whole page, or of what is in the window."""
        shot = self.call("Page.captureScreenshot", {"captureBeyondViewport": whole})
        target.write_bytes(base64.b64decode(shot["data"]))

    def call(self, method: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._call(method, given or {}, self._session)

    def rest(self) -> None:
        """Wait for a page that comes by itself."""
        time.sleep(0.3)
        self._settle()

    def _settle(self, seconds: float = 20.0) -> None:
        """Wait until the page has not changed for a moment."""
        end, quiet, before = time.monotonic() + seconds, 0, ""
        while quiet < 4:
            if time.monotonic() > end:
                raise TimeoutError(f"The page does not come to rest: {before}")
            time.sleep(0.1)
            try:
                now = str(self.run("document.readyState + location.href"))
            except LookupError:  # it is being replaced
                now = ""
            quiet = quiet + 1 if now == before and now.startswith("complete") else 0
            before = now

    def _call(self, method: str, given: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise LookupError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("method") == "Log.entryAdded":
                self.refused.append(answer["params"]["entry"]["text"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], 60)[0]:
                raise TimeoutError("Chromium does not answer.")
            part = os.read(self._from, 1_000_000)
            if not part:
                raise FileNotFoundError("Chromium has ended.")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer
