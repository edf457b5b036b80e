"""Creating the schema in an empty database, bringing an older one up to date, refusing a newer one."""

from __future__ import annotations

from importlib.resources import files

import sqlalchemy
from sqlalchemy import Connection, inspect

from fhir_coprod.errors import ConfigError
from fhir_coprod.store import schema
from fhir_coprod.store.database import Database, DatabaseErrors

_VERSION_TABLE = "alembic_version"
_SCHEMA_LOCK = 0x636F70726F65
"""The advisory lock under which PostgreSQL's schema changes: two processes may start at once."""


def prepare(database: Database) -> None:
    """Make the schema the one this program knows. An empty database is filled without loading Alembic.

    Raises ConfigError when the database is newer than the program, or belongs to something else.
    """
    engine = database.make_engine()
    try:
        with engine.begin() as connection:
            _lock(connection)
            found = revision(connection)
            if found == schema.REVISION:
                return
            if found is None:
                _refuse_foreign(connection)
                schema.metadata.create_all(connection)
                _stamp(connection)
                return
            _upgrade(connection, found)
    except sqlalchemy.exc.DBAPIError as error:
        raise ConfigError(f"The store cannot be prepared: {error.orig}.") from error
    except DatabaseErrors as error:
        raise ConfigError(f"The store cannot be prepared: {error}.") from error
    finally:
        engine.dispose()


def check(database: Database) -> str:
    """The revision of the schema in the database; "" when it is empty."""
    engine = database.make_engine()
    try:
        with engine.begin() as connection:
            return revision(connection) or ""
    finally:
        engine.dispose()


def revision(connection: Connection) -> str | None:
    """The migration the database stands at; None when it was never prepared."""
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
            f"The database holds a table {clashes[0]!r} that is not ours; give fhir-coprod a database of its own."
        )


def _stamp(connection: Connection) -> None:
    connection.exec_driver_sql(
        f"CREATE TABLE {_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {_VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(
        f"INSERT INTO {_VERSION_TABLE} (version_num) VALUES ('{schema.REVISION}')"  # noqa: S608
    )


def _upgrade(connection: Connection, found: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(files("fhir_coprod.store") / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise ConfigError(
            f"The database was made by a newer fhir-coprod (schema {found}; this one knows {schema.REVISION});"
            " install that version or a later one."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
