"""Holds one peer process and ends it when told to, or when the test run that wanted it is gone.

    python guard.py OWNER_PID STOP_SIGNAL USER COMMAND...

The peer outlives the xdist worker that asked for it, so neither the worker nor the shell's process group can
be what ends it. On SIGTERM, or once OWNER_PID no longer exists (Ctrl-C, kill -9), the peer gets STOP_SIGNAL,
ten seconds, then SIGKILL for its whole group. USER is "" or the account to run it as (from root).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 10.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(owner: int, stop_signal: int, user: str, command: list[str]) -> int:
    asked_to_stop = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    peer = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        user=user or None,
        group=user or None,
        extra_groups=[] if user else None,
    )
    while peer.poll() is None and not asked_to_stop and _alive(owner):
        time.sleep(0.2)
    if peer.poll() is None:
        peer.send_signal(stop_signal)
        try:
            peer.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(peer.pid, signal.SIGKILL)
    return peer.wait()


if __name__ == "__main__":
    sys.exit(abs(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])))
