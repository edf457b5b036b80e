"""Runs PostgreSQL: one server per test run, on loopback, in a folder of the run.

PostgreSQL refuses to run as root, so root starts it as `postgres` (the account that Debian's package makes),
or as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import uuid
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from tests.peers.registry import Peer, register
from tests.peers.shared import PeerFailed, Run, free_port

USER = "coprod"
_DEBIAN = Path("/usr/lib/postgresql")

# These tests are not about power failures, and a killed process, client or server, loses nothing without
# fsync either.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "max_wal_size=1GB",
    "logging_collector=off",
    "log_min_messages=warning",
    "log_checkpoints=off",
)


@cache
def binaries() -> Path | None:
    """Folder with `initdb` and `postgres`: from PATH, else the newest of Debian; None if there is neither."""
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).parent
    found = [folder for folder in _DEBIAN.glob("*/bin") if (folder / "postgres").exists()]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


@cache
def _version() -> str | None:
    folder = binaries()
    if folder is None:
        return None
    printed = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"\d+(\.\d+)*", printed)
    return match[0] if match else ""


PEER = register(Peer("PostgreSQL", _version, "install Debian's postgresql"))


def start(
    run: Run, *, durable: bool = False, name: str = "postgresql", more: tuple[str, ...] = ()
) -> dict[str, str]:
    """Start a server; returns its administrator's `url`. `durable` keeps fsync on, as a clinic would; `more`
    are further settings."""
    data = run.folder / name
    make(data)
    for attempt in range(3):  # another process may take the port between finding and using it
        port = free_port()
        guard = run.spawn(
            name,
            command(data, port, *(() if durable else _FAST), *more),
            stop=signal.SIGINT,  # PostgreSQL's fast shutdown: open connections are cut
            user=unprivileged(),
        )
        url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        try:
            run.wait_until(name, guard, lambda url=url: accepts(url), 60)  # type: ignore[misc]
        except PeerFailed:
            if attempt == 2:
                raise
        else:
            return {"url": url}
    raise AssertionError("unreachable")


def _existing() -> Path:
    folder = binaries()
    if folder is None:
        raise PeerFailed("PostgreSQL is not installed.")
    return folder


def make(data: Path, *options: str) -> None:
    """Make the files of a server in a new folder, or in an empty one; with further options of initdb."""
    folder = _existing()
    data.mkdir(mode=0o700, exist_ok=True)
    user = unprivileged()
    if user:
        shutil.chown(data, user)
    fixed = ("-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    made = subprocess.run(
        [folder / "initdb", "-D", data, *fixed, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=data.parent,
        user=user or None,
        group=user or None,
        extra_groups=[] if user else None,
    )
    if made.returncode:
        raise PeerFailed(f"initdb failed:\n{made.stdout}{made.stderr}")


def command(data: Path, port: int, *more: str) -> list[str]:
    """What runs a server on these files; with further settings."""
    settings = [part for setting in (*_SETTINGS, *more) for part in ("-c", setting)]
    return [str(_existing() / "postgres"), "-D", str(data), "-p", str(port), *settings]


def unprivileged() -> str:
    """The account to run as: "" for this one, unless it is root."""
    if os.geteuid() != 0:
        return ""
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise PeerFailed("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody.")


def accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


class Databases:
    """The databases of a server, made and dropped over one connection of its administrator."""

    def __init__(self, admin: str) -> None:
        self._connection = psycopg.connect(admin, autocommit=True)
        self._server = admin.rpartition("/")[0]
        # Copying files takes half of what logging every page of a small database does.
        new = self._connection.info.server_version >= 15_00_00
        self._copied = sql.SQL("STRATEGY file_copy" if new else "")

    def new(self, like: str = "template0") -> str:
        """URL of a fresh database: empty, or a copy of another.

        Nobody may be connected to that one, so parallel copies never wait for each other's sessions.
        """
        name = f"t_{uuid.uuid4().hex}"
        self._connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
                sql.Identifier(name), sql.Identifier(like), self._copied
            )
        )
        return f"{self._server}/{name}"

    def drop(self, url: str) -> None:
        """Remove a database, cutting whoever is still connected to it."""
        name = url.rpartition("/")[2]
        self._connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def close(self) -> None:
        self._connection.close()


def new_database(admin: str) -> str:
    """URL of one fresh database, for a program that needs no more and ends with its server."""
    databases = Databases(admin)
    try:
        return databases.new()
    finally:
        databases.close()
