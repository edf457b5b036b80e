"""Starts a peer once per test run and tells every xdist worker where it is.

The run has a folder and an owner: the process that pytest was called as (with xdist the controller, not a
worker). The first worker to ask for a peer starts it under a file lock and writes its address down; the
others read it. The owner ends all of them when the run ends; a guard per peer does so if the owner dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")


class PeerFailed(Exception):
    """A peer is installed but did not come up; the message holds the end of what it printed."""


@dataclass(slots=True)
class Run:
    """One test run: its folder (readable by the accounts that peers run as) and the process that owns it."""

    folder: Path
    owner: int
    # Popen objects are kept so that none is collected (and warned about) while its process still runs.
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def begin(cls) -> Run:
        """A new run owned by this process. Its folder lies where another account can reach it."""
        folder = Path(tempfile.mkdtemp(prefix="coprod-peers-", dir=None if _reachable() else "/tmp"))
        folder.chmod(0o711)
        return cls(folder, os.getpid())

    def once(self, name: str, start: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        """What `start` returned, in whichever worker it ran first; a failed start fails everywhere."""
        with locked(self.folder / f"{name}.lock"):
            answer = self.folder / f"{name}.json"
            failure = self.folder / f"{name}.failed"
            if failure.exists():
                raise PeerFailed(failure.read_text())
            if not answer.exists():
                try:
                    found = dict(start())
                except PeerFailed as error:
                    failure.write_text(str(error))
                    raise
                answer.write_text(json.dumps(found))
            return {str(key): str(value) for key, value in json.loads(answer.read_text()).items()}

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        *,
        stop: signal.Signals = signal.SIGTERM,
        user: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a peer under its guard; its output goes to `log(name)`."""
        with self.log(name).open("ab") as log:
            guard = subprocess.Popen(
                [sys.executable, "-I", str(_GUARD), str(self.owner), str(int(stop)), user, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=cwd or self.folder,
            )
        self._started.append(guard)
        with (self.folder / "guards").open("a") as guards:
            guards.write(f"{guard.pid}\n")
        return guard

    def log(self, name: str) -> Path:
        """Where everything that peer prints is kept while the run lasts."""
        return self.folder / f"{name}.log"

    def wait_until(
        self, name: str, guard: subprocess.Popen[bytes], ready: Callable[[], bool], seconds: float
    ) -> None:
        """Return once `ready()`; PeerFailed when the peer ends before that or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if guard.poll() is not None:
                raise PeerFailed(f"{name} ended while it was starting:\n{self._tail(name)}")
            if time.monotonic() > deadline:
                self.end(guard)
                raise PeerFailed(f"{name} was not ready after {seconds:.0f} s:\n{self._tail(name)}")
            time.sleep(0.1)

    def _tail(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")[-3000:]

    def end(self, guard: subprocess.Popen[bytes]) -> None:
        """End one peer and wait for it."""
        if guard.poll() is None:
            guard.terminate()
        guard.wait()

    def leave(self) -> None:
        """For a worker that ends before the run: what it started goes on under its guards."""
        for guard in self._started:
            # Popen warns about every child it has not seen the end of; these are the owner's to end.
            guard.returncode = 0
        self._started.clear()

    def finish(self) -> None:
        """End all peers of the run, wherever they were started, and remove its folder."""
        guards = self.folder / "guards"
        running = {int(line) for line in guards.read_text().split()} if guards.exists() else set()
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for guard in self._started:
            guard.wait()
        deadline = time.monotonic() + 15
        while any(_lives(pid) for pid in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    """Whether the process runs; a zombie, which has ended but was not waited for, does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # ended just now, or a system without /proc
        return not Path("/proc/self/stat").exists()
    return state != "Z"


def _reachable() -> bool:
    """Whether every account can reach the temporary folder."""
    folder = Path(tempfile.gettempdir()).resolve()
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; released also when its holder dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
