"""A folder, and no right to read everything: root, who runs the tests in CI, would be refused nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user who is not root, while the test runs as that user."""
    user = os.geteuid()
    folder = Path(tempfile.mkdtemp())  # the way to tmp_path is open to its owner only
    if user == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)
