"""Which peers there are, and what a test does when one is missing.

A missing peer skips the test that asked for it, by name; with COPROD_PEERS=required it fails it instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One third-party program.

    name:    what a person calls it
    find:    its version in words when it is installed here; None when it is not. Cheap: no start.
    install: what to do to get it
    """

    name: str
    find: Callable[[], str | None]
    install: str


_peers: dict[str, Peer] = {}


def register(peer: Peer) -> Peer:
    """Make a peer known to the summary at the end of a run."""
    _peers[peer.name] = peer
    return peer


def require(peer: Peer) -> None:
    """Return when the peer is here; otherwise skip the running test, or fail it where peers are required."""
    if peer.find() is not None:
        return
    import pytest  # here, so that scripts/install_peers.py can read the peers without it

    sentence = f"peer missing: {peer.name} ({peer.install})"
    if os.environ.get("COPROD_PEERS") == "required":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def summary() -> list[str]:
    """Two lines for the end of a run: the peers found, with versions, and those missing."""
    found: list[str] = []
    missing: list[str] = []
    for peer in _peers.values():
        version = peer.find()
        if version is None:
            missing.append(f"{peer.name} ({peer.install})")
        else:
            found.append(f"{peer.name} {version}".rstrip())
    lines = [f"peers found: {', '.join(found) or 'none'}"]
    if missing:
        lines.append(f"peers missing, their tests skipped: {', '.join(missing)}")
    return lines
