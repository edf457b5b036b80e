"""Makes the two pictures of the README from the demo: docs/board.png and docs/terminal.svg.

Needs Chromium. Run it (`make pictures`) when the page or the table has changed.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from fhir_coprod.demo.run import run  # noqa: E402
from tests.peers.chromium import Browser, path  # noqa: E402

DOCS = ROOT / "docs"


def terminal() -> None:
    """The table, as `make demo ARGS=--once` prints it."""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True, emoji=False)
    run(once=True, port=0, stdout=console, stderr=Console(stderr=True, emoji=False))
    console.save_svg(str(DOCS / "terminal.svg"), title="make demo ARGS=--once")


def board() -> None:
    """The page, as `make demo` serves it to the coordinator."""
    command = [sys.executable, "-m", "fhir_coprod", "demo", "--port", "0"]
    demo = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert demo.stderr is not None
        address = next(line.split()[-1] for line in demo.stderr if line.startswith("The board:"))
        with Browser(1100, 1040) as browser:
            browser.go(address)
            browser.click("a", "Coordinator")
            browser.picture(DOCS / "board.png", whole=False)
    finally:
        demo.terminate()
        demo.wait(20)


if __name__ == "__main__":
    if path() is None:
        sys.exit("Chromium is not on the PATH; the screenshot is taken with it.")
    terminal()
    board()
