"""One store with everything that works on it: server, worker, sync, load, as processes that can be killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from benchmarks.endurance_measures import descendants
from fhir_coprod.settings import EhrSettings, Settings
from tests import programs
from tests.programs import Program

PATIENCE = 60.0


class Running:
    """A program under way, in a session of its own."""

    def __init__(self, name: str, process: Program, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.url = ""

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """The processes that it has started, and those that these have."""
        return [number for number in descendants(self.process.pid) if number != self.process.pid]

    def kill_all(self) -> None:
        """kill -9 to everything that it has started."""
        for number in (*self.children(), self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.close()


class Site:
    """A store's settings, and the programs that use them."""

    def __init__(self, folder: Path, settings: Settings, load: Path | None = None) -> None:
        self.folder = folder
        self.settings = settings
        self.load = load
        self.running: list[Running] = []
        self._logs = 0
        self._config = folder / "coprod.toml"
        self._config.write_text(_toml(settings))

    def start(self, name: str) -> Running:
        """name: serve, two-workers, worker, sync, full-sync or load"""
        arguments = {
            "serve": ("serve", "--port", "0"),
            "two-workers": ("serve", "--port", "0", "--workers", "2"),
            "worker": ("worker",),
            "sync": ("sync",),
            "full-sync": ("sync", "--full"),
            "load": ("load", str(self.load)),
        }[name]
        self._logs += 1
        log = self.folder / f"log-{self._logs}-{name}"
        piped = arguments[0] == "serve"
        with log.open("w") as out:
            process = programs.start(
                *("fhir_coprod", *arguments, "--config", str(self._config)),
                stdout=programs.PIPE if piped else out,
                stderr=out,
                cwd=self.folder,
                own_session=True,
            )
        started = Running(name, process, log)
        self.running.append(started)
        return started

    def finish(self, name: str) -> int:
        """Run one to its end; its exit code."""
        running = self.start(name)
        code = running.process.wait(300)
        self.running.remove(running)
        running.process.close()
        return code

    def end(self, chance: random.Random) -> None:
        """End what still runs: some of it is asked to, and all is killed a moment later."""
        for running in self.running:
            if running.lives and chance.random() < 0.5:
                running.process.terminate()
        time.sleep(chance.uniform(0, 0.3))
        self._kill_the_rest()

    def stop(self) -> list[str]:
        """End what still runs in good order; the names of what had to be killed."""
        wrong = []
        for running in self.running:
            running.process.terminate()
        for running in self.running:
            try:
                running.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                wrong.append(f"{running.name} did not end")
        self._kill_the_rest()
        return wrong

    def _kill_the_rest(self) -> None:
        for running in self.running:
            running.kill_all()
        self.running.clear()

    def said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log-*")))


def listening(running: Running) -> bool:
    """Wait until a server listens; False if it ended before that."""
    out: IO[str] | None = running.process.stdout
    assert out is not None
    line = out.readline()  # ends with the process, and with whatever holds its end of the pipe
    if not line.startswith("listening on "):
        return False
    running.url = line.removeprefix("listening on ").strip()
    return True


def _toml(settings: Settings) -> str:
    lines = ["[store]", f'url = "{settings.store.url}"', "[sync]", "every_minutes = 0"]
    for ehr in settings.ehr:
        lines += _ehr(ehr)
    return "\n".join(lines) + "\n"


def _ehr(ehr: EhrSettings) -> list[str]:
    types, patients = (", ".join(f'"{one}"' for one in several) for several in (ehr.types, ehr.patients))
    return [
        "[[ehr]]",
        f'name = "{ehr.name}"',
        f'url = "{ehr.url}"',
        f'department = "{ehr.department}"',
        f"types = [{types}]",
        f"patients = [{patients}]",
        f"requests_per_second = {ehr.requests_per_second}",
        f'on_invalid = "{ehr.on_invalid}"',
    ]
