"""A PostgreSQL of a test's own, which may be killed, restarted, and run out of disk."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from tests.peers import postgresql
from tests.peers.shared import PeerFailed, Run, free_port

_SMALL = ("shared_buffers=16MB", "min_wal_size=4MB", "max_wal_size=16MB", "max_connections=60")


class Cluster:
    """One server on one port; durable, as a clinic would run it."""

    def __init__(self, run: Run, data: Path) -> None:
        self._run = run
        self._data = data
        self._port = free_port()
        self._name = f"cluster-{self._port}"
        self.admin = f"postgresql://{postgresql.USER}@127.0.0.1:{self._port}/postgres"
        postgresql.make(data, "--wal-segsize=1")
        self.start()

    def start(self, seconds: float = 60) -> None:
        """Start it; again, if what a killed one left behind is still in use."""
        deadline = time.monotonic() + seconds
        while True:
            self._guard = self._run.spawn(
                self._name,
                postgresql.command(self._data, self._port, *_SMALL),
                stop=signal.SIGINT,
                user=postgresql.unprivileged(),
            )
            try:
                self._run.wait_until(self._name, self._guard, lambda: postgresql.accepts(self.admin), 60)
            except PeerFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def ensure(self) -> None:
        """Start it if it has ended; wait until it answers."""
        deadline = time.monotonic() + 60
        while self._guard.poll() is None and not postgresql.accepts(self.admin):
            assert time.monotonic() < deadline, "the server neither ends nor answers"
            time.sleep(0.1)
        if self._guard.poll() is not None:
            self.start()

    def new_database(self) -> str:
        return postgresql.new_database(self.admin)

    def kill_backend(self, chance_of: int) -> bool:
        """kill -9 one of the processes that serve clients; the server then cuts all others off, and recovers.
        False if nobody is connected."""
        with psycopg.connect(self.admin) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'fhir-coprod' ORDER BY pid"
            ).fetchall()
        if not rows:
            return False
        with suppress(ProcessLookupError):
            os.kill(rows[chance_of % len(rows)][0], signal.SIGKILL)
        return True

    def kill(self) -> None:
        """kill -9 the server itself, and start it again."""
        self._signal(signal.SIGKILL)

    def restart_at_once(self) -> None:
        """As `pg_ctl restart -m immediate`: no shutdown, and recovery at the start."""
        self._signal(signal.SIGQUIT)

    def stop_at_once(self) -> None:
        """As `restart_at_once`, without the start."""
        self._end(signal.SIGQUIT)

    def _signal(self, number: int) -> None:
        self._end(number)
        self.start()

    def _end(self, number: int) -> None:
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), number)
        self._guard.wait(30)

    def close(self) -> None:
        self._run.end(self._guard)
