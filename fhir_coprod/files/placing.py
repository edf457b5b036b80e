"""Puts a file in its place as a whole: a reader finds the old content or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def place(file: Path, content: bytes) -> None:
    """Write a file for its owner only, beside the old one, and put it there at once when it is on the disk.

    If the machine stops in between, the old file is still there. A link stays one: what it leads to is
    replaced. Raises OSError, and then leaves nothing behind.
    """
    file = _of_its_own(file)
    # A name of its own, for its owner only, that is never a link: two processes may place the same file.
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name[:100]}.", delete=False) as out:
        fresh = Path(out.name)
        try:
            if file.exists() and os.geteuid() == 0:  # an administrator does it for the account that reads it
                os.fchown(out.fileno(), file.stat().st_uid, file.stat().st_gid)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
            fresh.replace(file)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def try_place(file: Path) -> None:
    """Raise OSError if a file could not be written there, before hours of work are done for it."""
    file = _of_its_own(file)
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name[:100]}."):
        pass


def _of_its_own(file: Path) -> Path:
    """The file itself if it is a link to one. Raises OSError for a folder, and for what is no file, such as
    /dev/null: to put a file in its place would take it from everybody."""
    file = Path(os.path.realpath(file))  # unlike resolve(), no error of its own for links in a circle
    if file.is_dir():
        raise IsADirectoryError(21, "it is a folder")
    if file.exists() and not file.is_file():
        raise OSError(22, "it is a device or a pipe, not a file")
    return file
