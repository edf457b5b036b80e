"""Puts a file in its place as a whole: a reader finds the old content or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def place(file: Path, content: bytes) -> None:
    """Write a file for its owner only, beside the old one, and put it there at once when it is on the disk.

    If the machine stops in between, the old file is still there. Raises OSError.
    """
    fresh = _beside(file)
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        if file.exists() and os.geteuid() == 0:  # an administrator does it for the account that reads it
            os.fchown(out.fileno(), file.stat().st_uid, file.stat().st_gid)
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def try_place(file: Path) -> None:
    """Raise OSError if a file could not be written there, before hours of work are done for it."""
    if file.is_dir():
        raise IsADirectoryError(21, "it is a folder")
    fresh = _beside(file)
    fresh.write_bytes(b"")
    fresh.unlink()


def _beside(file: Path) -> Path:
    return file.with_name(file.name + ".new")
