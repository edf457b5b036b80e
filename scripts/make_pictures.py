"""Makes the two pictures of the README from the demo: docs/board.png and docs/terminal.svg.

Needs Chromium. Run it (`make pictures`) when the page or the table has changed.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from fhir_coprod.demo.run import run

DOCS = Path(__file__).parent.parent / "docs"
CHROMIUM_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1100,1040",
)


def terminal() -> None:
    """The table, as `make demo ARGS=--once` prints it."""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True, emoji=False)
    run(once=True, port=0, stdout=console, stderr=Console(stderr=True, emoji=False))
    console.save_svg(str(DOCS / "terminal.svg"), title="make demo ARGS=--once")


def board(chromium: str) -> None:
    """The page, as `make demo` serves it."""
    command = [sys.executable, "-m", "fhir_coprod", "demo", "--port", "0"]
    demo = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert demo.stderr is not None
        address = next(line.split()[-1] for line in demo.stderr if line.startswith("The board:"))
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [
                    chromium,
                    *CHROMIUM_OPTIONS,
                    f"--user-data-dir={profile}",
                    f"--screenshot={DOCS / 'board.png'}",
                    address,
                ],
                check=True,
                capture_output=True,
            )
    finally:
        demo.terminate()
        demo.wait(20)


if __name__ == "__main__":
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Chromium is not on the PATH; the screenshot is taken with it.")
    terminal()
    board(found)
