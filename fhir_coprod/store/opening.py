"""Opens the database that a URL names: creates the schema when it is empty, migrates an older one, refuses a
newer one."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from importlib.resources import files
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import Connection, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from fhir_coprod.errors import ConfigError, CoprodError, Damaged, Unwritable
from fhir_coprod.store import schema
from fhir_coprod.store.database import PATIENCE, RESTORE, Database, Patience, ReadErrors
from fhir_coprod.store.postgresql import PostgresqlDatabase
from fhir_coprod.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION_TABLE = "alembic_version"
_SCHEMA_LOCK = 0x636F70726F65
"""The advisory lock for changing PostgreSQL's schema: two processes may start at once."""


def connect(url: str, patience: Patience = PATIENCE) -> Database:
    """The database that a URL names. Raises ConfigError when it names none."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "store.url is not a URL; write sqlite:///file.db or postgresql://user@host/database."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigError("store.url names no file; write sqlite:///file.db.")
        return SqliteDatabase(parsed, patience)
    if backend in ("postgresql", "postgres"):
        return PostgresqlDatabase(parsed.set(drivername="postgresql+psycopg"), patience)
    raise ConfigError(f"store.url: {backend} is not supported; use sqlite:/// or postgresql://.")


def prepare(database: Database) -> None:
    """Bring the schema to the one this program knows. An empty database is filled without loading Alembic.

    Raises ConfigError when the database is newer than the program, or belongs to something else.
    """
    if _seen(database) == schema.REVISION:
        return
    engine = database.make_engine()
    try:
        with engine.begin() as connection:
            _lock(connection)
            found = revision(connection)
            if found == schema.REVISION:
                return
            if found is None:
                _refuse_foreign(connection)
                schema.metadata.create_all(connection, checkfirst=False)
                _stamp(connection)
                return
            _upgrade(connection, found)
    except sqlalchemy.exc.DBAPIError as error:
        raise _cannot(database, error.orig) from error
    except ReadErrors as error:
        raise _cannot(database, error) from error
    finally:
        engine.dispose()


def _seen(database: Database) -> str | None:
    """The revision as far as it can be read without a right to write: a read-only disk gives none."""
    with suppress(CoprodError, *ReadErrors), closing(database.inspector()) as session:
        rows = session.rows(f"SELECT version_num FROM {_VERSION_TABLE}")  # noqa: S608
        return str(rows[0][0]) if rows else None
    return None


def _cannot(database: Database, error: BaseException | None) -> CoprodError:
    where = database.url.render_as_string(hide_password=True)
    known = database.unavailable(error) if isinstance(error, Exception) else None
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
        return Damaged(
            f"The store at {where} is no SQLite database: it is damaged, or is something else. {RESTORE} Or"
            " correct store.url."
        )
    if isinstance(known, Damaged):
        return Damaged(f"The store at {where} cannot be opened. {known.message}")
    if isinstance(known, Unwritable):
        return ConfigError(f"The store at {where} cannot be opened. {known.message}")
    reason = " ".join(str(error).split()).rstrip(".")
    return ConfigError(f"The store at {where} cannot be opened: {reason}. {_remedy(database)}")


def _remedy(database: Database) -> str:
    if not isinstance(database, SqliteDatabase):
        return "Is the server up, and does it let this user in? See store.url and PGPASSWORD."
    if database.path.is_dir():
        return "That is a folder; name a file in it."
    return "May this user write the file and its folder?"


def check(database: Database) -> str:
    """The revision of the schema in the database; "" when it is empty."""
    if isinstance(database, SqliteDatabase) and not database.path.exists():
        return ""
    if seen := _seen(database):
        return seen
    engine = database.make_engine()
    try:
        with engine.begin() as connection:
            return revision(connection) or ""
    except sqlalchemy.exc.DBAPIError as error:
        raise _cannot(database, error.orig) from error
    except ReadErrors as error:
        raise _cannot(database, error) from error
    finally:
        engine.dispose()


def revision(connection: Connection) -> str | None:
    """The latest migration of the database; None when it was never prepared."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    row = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSION_TABLE}").first()  # noqa: S608
    return row[0] if row else None


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def _refuse_foreign(connection: Connection) -> None:
    clashes = sorted(set(inspect(connection).get_table_names()) & set(schema.metadata.tables))
    if clashes:
        raise ConfigError(
            f"The database holds a table {clashes[0]!r} that is not ours;"
            " give fhir-coprod a database of its own."
        )


def _stamp(connection: Connection) -> None:
    connection.exec_driver_sql(
        f"CREATE TABLE {_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {_VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(
        f"INSERT INTO {_VERSION_TABLE} (version_num) VALUES ('{schema.REVISION}')"  # noqa: S608
    )


def is_newer(found: str) -> bool:
    """Whether this program does not know the revision."""
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}
    return bool(found) and found not in known


def _upgrade(connection: Connection, found: str) -> None:
    if is_newer(found):
        raise ConfigError(
            f"The database was made by a newer fhir-coprod (schema {found};"
            f" this one knows {schema.REVISION}); install that version or a later one."
        )
    migrate(connection)


def migrate(connection: Connection, to: str = "head") -> None:
    """Run every migration that the database lacks, up to the named one, in the connection's transaction."""
    from alembic import command

    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _alembic() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("fhir_coprod.store") / "migrations"))
    return config
