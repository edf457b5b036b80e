"""Several processes that serve one listening socket: started, started again when one ends, stopped together.

Each shows once a second that its event loop still runs; one that has not for a minute is killed, and another
takes its place. If this process is killed, they see it and end.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from fhir_coprod import stopping, trimming

log = logging.getLogger("fhir_coprod.api")

SILENT_SECONDS = 60.0
"""A worker whose event loop has not run for so long is killed."""
STEADY_SECONDS = 30.0
"""A worker that ran for so long and ends is started again at once; one that ended sooner, after a pause."""
LONGEST_PAUSE = 30.0

Beat = Callable[[], None]
"""A worker calls it from its event loop, to show that it runs."""
Work = Callable[[socket.socket, Beat], None]
"""What a worker does until it gets SIGTERM. It is pickled."""


@dataclass
class _Worker:
    process: SpawnProcess
    pulse: Connection
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)


class Workers:
    """`number` processes that do `work`."""

    def __init__(
        self, work: Work, listener: socket.socket, number: int, on_stop: Callable[[], None] = lambda: None
    ) -> None:
        self._work = work
        self._on_stop = on_stop
        self._listener = listener
        self._number = number
        self._workers: list[_Worker] = []
        self._woken, self._wakes = os.pipe()
        self._is_told = False
        self._pause = 1.0

    def run(self) -> None:
        """Return when a signal has said so and all have ended; at the end of the grace they are killed."""
        stopping.when_told(self._stop)
        self._workers = [self._start() for _ in range(self._number)]
        while not self._is_told:
            wait([self._woken, *(one.process.sentinel for one in self._workers)], timeout=1.0)
            self._mend()
        for one in self._workers:
            one.process.terminate()
        deadline = time.monotonic() + stopping.GRACE_SECONDS - 1
        for one in self._workers:
            one.process.join(max(0.0, deadline - time.monotonic()))
            one.process.kill()
        for one in self._workers:
            one.process.join()

    def _stop(self) -> None:
        self._is_told = True
        os.write(self._wakes, b"!")
        self._on_stop()

    def _start(self) -> _Worker:
        pulse, theirs = Pipe(duplex=False)
        process = get_context("spawn").Process(target=_run, args=(self._work, self._listener, theirs))
        process.start()
        theirs.close()
        return _Worker(process, pulse)

    def _mend(self) -> None:
        """Put another in the place of each that has ended, or that is alive but does nothing."""
        now = time.monotonic()
        for place, one in enumerate(self._workers):
            with suppress(EOFError, OSError):
                while one.pulse.poll():
                    one.pulse.recv_bytes()
                    one.heard = now
            if now - one.heard > SILENT_SECONDS and one.process.is_alive():
                log.error("worker %s has not run for %g s: it is killed", one.process.pid, SILENT_SECONDS)
                one.process.kill()
                one.process.join()
            if one.process.is_alive() or self._is_told:
                continue
            self._pause = 1.0 if now - one.began > STEADY_SECONDS else min(self._pause * 2, LONGEST_PAUSE)
            log.error(
                "worker %s has ended (%s); another is started",
                one.process.pid,
                _how(one.process.exitcode),
            )
            one.pulse.close()
            if now - one.began <= STEADY_SECONDS:
                wait([self._woken], timeout=self._pause)
            if not self._is_told:
                self._workers[place] = self._start()


def _how(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"


def _run(work: Work, listener: socket.socket, pulse: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trimming.share_heaps()
    stopping.end_with_parent()
    os.set_blocking(pulse.fileno(), False)

    def beat() -> None:
        with suppress(OSError):  # full, or the parent is gone, which `end_with_parent` sees
            pulse.send_bytes(b".")

    work(listener, beat)
