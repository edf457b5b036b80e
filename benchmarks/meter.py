"""Measures the processor time of started processes, including that of the database server."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from tests.peers.shared import Run

_TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """Seconds of processor time since it was created: of ended child processes, and of a run's PostgreSQL."""

    def __init__(self, run: Run, name: str = "postgresql") -> None:
        self._postmaster = run.folder / name / "postmaster.pid"
        self._begin = self._now()

    def seconds(self) -> float:
        return self._now() - self._begin

    def _now(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime + self._postgresql()

    def _postgresql(self) -> float:
        """Seconds of the server's processes, including their ended children."""
        if not self._postmaster.exists():
            return 0.0
        server = int(self._postmaster.read_text().split()[0])
        ticks = 0
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(process.name) == server:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == server:
                ticks += sum(map(int, fields[11:13]))
        return ticks / _TICKS
