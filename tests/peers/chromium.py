"""Runs Debian's Chromium, to see our pages as a browser does."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

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
