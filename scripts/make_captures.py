"""Writes docs/captures.md and docs/operations.png: what a night operator sees, from the demo's hospital.

Needs Chromium for the picture. Run it (`make captures`) when what is printed has changed. Paths and ports of
this machine are replaced by those of the docs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from fhir_coprod.demo.hospital import departments
from fhir_coprod.demo.servers import serving

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DRY_LINES = 16
"""Lines of the dry run that are shown."""
DOWN = "http://127.0.0.1:9/fhir"
"""An address where nobody answers."""
BROKEN = {
    "resourceType": "Task",
    "id": "broken",
    "status": "requested",
    "intent": "order",
    "for": "Patient/x",
}
"""A record that breaks a rule; the EHR's settings say that such a one is refused."""

HEAD = """# What a night operator sees

Written by `make captures` from the demo's invented hospital: three departments, of which one is down in the
failing run and two have a record that is refused. What to do about each is told by
[night-run.md](night-run.md#5-when-it-fails-at-three-oclock).
"""


class Site:
    """Settings and store of three EHRs in a folder."""

    def __init__(self, folder: Path, addresses: dict[str, str]) -> None:
        self.folder = folder
        self.addresses = addresses
        self.config = folder / "coprod.toml"
        self.down = ""
        self.write_settings()

    def write_settings(self, down: str = "") -> None:
        self.down = down
        text = f'[store]\nurl = "sqlite:///{self.folder}/layer.db"\n[site]\ntimezone = "Europe/Stockholm"\n'
        for name, url in self.addresses.items():
            address = DOWN if name == down else url
            text += f'[[ehr]]\nname = "{name}"\nurl = "{address}"\non_invalid = "refuse"\ntimeout = 1\n'
        self.config.write_text(text)

    def run(self, *arguments: str) -> tuple[str, int]:
        """What a command prints, as a reader of the docs would see it, and its exit code."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COPROD_")}
        done = subprocess.run(
            [sys.executable, "-m", "fhir_coprod", "--config", str(self.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment | {"COLUMNS": "110"},
        )
        return self._told(done.stdout), done.returncode

    def _told(self, text: str) -> str:
        text = text.replace(DOWN, f"https://{self.down}.example/fhir")
        for name, url in self.addresses.items():
            text = text.replace(url, f"https://{name}.example/fhir")
        return re.sub(rf"{re.escape(str(self.folder))}/?", "/var/lib/fhir-coprod/", text)


def block(command: str, printed: str, code: int) -> str:
    return f"```console\n$ {command}\n{printed.rstrip()}\n```\n\nIt ends with {code}.\n"


def picture(site: Site, chromium: str) -> None:
    """The page /operations, as serve shows it."""
    command = [sys.executable, "-m", "fhir_coprod", "--config", str(site.config), "serve", "--no-jobs"]
    served = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        address = served.stdout.readline().split()[-1].removesuffix("/fhir")
        with tempfile.TemporaryDirectory() as profile:
            subprocess.run(
                [
                    *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                    *("--hide-scrollbars", "--window-size=1000,1250", f"--user-data-dir={profile}"),
                    *(f"--screenshot={DOCS / 'operations.png'}", f"{address}/operations"),
                ],
                check=True,
                capture_output=True,
            )
    finally:
        served.terminate()
        served.wait(20)


def main(chromium: str) -> None:
    records = departments(datetime.now(UTC))
    first, down, *_ = records
    records[first].append(BROKEN)
    parts = [HEAD]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="captures-")))
        site = Site(folder, stack.enter_context(serving(folder, records)))
        printed, code = site.run("sync", "--dry-run")
        shown = [line for line in printed.splitlines() if "event='page'" not in line][:DRY_LINES]
        parts.append("## Before the first load: a dry run\n\nIts first lines; nothing is written.\n")
        parts.append(block("fhir-coprod sync --dry-run", "\n".join([*shown, "…"]), code))
        site.run("sync", "--quiet")
        site.run("watch", "--quiet")
        site.run("ehr", "pause", list(records)[-1], "--until", "2099-01-01", "--because", "server moves")
        site.write_settings(down)
        printed, code = site.run("sync", "--quiet")
        parts.append("## A run that fails, as cron mails it\n\nOne sentence for each fault.\n")
        parts.append(block("fhir-coprod sync --quiet", printed, code))
        parts.append("When all is well the same line prints nothing, and there is no mail.\n")
        printed, code = site.run("doctor")
        parts.append("## What doctor says then\n")
        parts.append(block("fhir-coprod doctor", printed, code))
        picture(site, chromium)
        parts.append("## The page for hospital IT\n\n![/operations](operations.png)\n")
    (DOCS / "captures.md").write_text("\n".join(parts))


if __name__ == "__main__":
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Chromium is not on the PATH; the screenshot is taken with it.")
    main(found)
