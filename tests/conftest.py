"""What all tests share: the peers."""

from __future__ import annotations

pytest_plugins = ["tests.peers.fixtures"]
