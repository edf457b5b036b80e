"""Ends a process that was told to stop, whatever it is doing then.

Threads in Python cannot be stopped. One that is in a long search or validates a large document would keep its
process alive until it is done, so whoever is told to stop has some seconds; then it ends, done or not.
Nothing is lost by that: a commit is on disk before anybody is told of it, and what is not committed is not
done.
"""

from __future__ import annotations

import _thread
import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_SECONDS = 8.0
"""How long a process may take to end once it is told to stop. Many who stop it kill it after ten."""
_LAST_SECONDS = 1.0
"""After so much longer the system ends it, in case a library has kept the interpreter since, and Python code
had no turn. If one keeps it when the signal comes, nobody hears the signal until it lets go."""


def when_told(stop: Callable[[], None]) -> None:
    """At the first SIGTERM or SIGINT call `stop`, and see that the process ends in time.

    `stop` runs in a thread of its own: in the main thread it could wait for a lock that the main thread has.
    """

    def told(number: int, frame: object) -> None:
        # Not threading.Thread: the signal may have come while the main thread starts one.
        _thread.start_new_thread(stop, ())
        end_in_time()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


@contextmanager
def interrupted_by_sigterm() -> Iterator[list[int]]:
    """Let SIGTERM do in the block what Ctrl-C does, and see that the process ends in time.

    asyncio knows how to end in good order at Ctrl-C, and only then. Where Ctrl-C is ignored, as in a shell's
    background, SIGTERM interrupts all the same. Yields a list that is not empty any more once it has come.
    """
    numbers: list[int] = []

    def told(number: int, frame: FrameType | None) -> None:
        numbers.append(number)
        end_in_time(128 + number)
        interrupt = signal.getsignal(signal.SIGINT)  # asyncio puts its own there
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)

    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, told)
    try:
        with _blocked_if_ignored(signal.SIGINT):
            yield numbers
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _blocked_if_ignored(number: signal.Signals) -> Iterator[None]:
    """Keep an ignored signal out by blocking it: asyncio replaces only Python's own handler."""
    if signal.getsignal(number) is not signal.SIG_IGN or sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_in_time(exit_code: int = 0) -> None:
    """End this process, and those it started, when the grace is over; may be called by a signal's handler."""
    if not _ending.acquire(blocking=False):
        return
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS + _LAST_SECONDS)
        # All is closed by then: to take long over freeing the memory is no failure.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    # The interpreter ends with a search for garbage, which takes a part of a second with all the definitions.
    atexit.register(gc.freeze)
    _thread.start_new_thread(_end_after, (GRACE_SECONDS, exit_code))


_ending = threading.Lock()
"""Taken once this process is about to end."""


def _end_after(seconds: float, exit_code: int) -> None:
    time.sleep(seconds)
    with suppress(OSError):
        os.write(
            2, b"still at work after %d s: ended as it is; what was not acknowledged is not done\n" % seconds
        )
    # Imported only where there may be children: it takes a tenth of the time of `fhir-coprod --version`.
    if multiprocessing := sys.modules.get("multiprocessing"):
        for child in multiprocessing.active_children():
            child.kill()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # somebody may have closed it, or hold its lock
            stream.flush()
    os._exit(exit_code)


def end_with_parent() -> None:
    """Tell this process to stop when the one that started it is gone, for whatever reason."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
