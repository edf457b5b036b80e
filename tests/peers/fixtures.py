"""pytest plugin: the peers as fixtures, each started once per run and shared by all xdist workers.

postgresql_url       administrator's URL of a running server
postgresql_database  URL of a fresh, empty database for one test; `databases` makes more
postgresql_store     URL of an empty store on PostgreSQL for one test
database_url         URL of an empty database, once on SQLite and once on PostgreSQL
store_url            URL of an empty store, once on SQLite and once on PostgreSQL
new_store            makes one more, on "sqlite" or "postgresql", for tests that share a store
hapi_url             base URL of a HAPI FHIR server, empty, for one test; `new_hapi()` gives another
exporting_hapi_url   one that gives bulk exports
searching_hapi_url   one with all kinds of search switched on, for the one test that compares searches
medplum_url          base URL of a Medplum router, empty, for one test; `new_medplum()` gives another
keycloak_url         base URL of a Keycloak, in which a test makes a realm of its own
foreign_hospital     the records of a hospital that clinosim made, with defects
chromium             path of the browser; use it through `tests.peers.chromium`
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest

from fhir_coprod.store import Store
from tests.peers import authority, postgresql, registry, servers
from tests.peers import chromium as browser
from tests.peers import hl7 as hl7  # registers itself; its tests start it
from tests.peers import hospital as hospitals
from tests.peers import ips as ips  # registers itself, too
from tests.peers import provider as provider  # so does this; each test starts its own
from tests.peers.shared import Run

NewStore = Callable[..., AbstractContextManager[str]]
"""What the fixture `new_store` is."""

_RUN = pytest.StashKey[Run]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """xdist, in the controller: tell a worker which run it belongs to."""
    run = node.config.stash[_RUN]  # type: ignore[attr-defined]
    node.workerinput["coprod_run"] = (str(run.folder), run.owner)  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = Run.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _RUN in config.stash:
        config.stash[_RUN].finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in registry.summary():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def peer_run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The test run that peers belong to."""
    worker = getattr(request.config, "workerinput", None)
    if worker is None:
        yield request.config.stash[_RUN]
        return
    folder, owner = worker["coprod_run"]
    run = Run(Path(folder), owner)
    yield run
    run.leave()


@pytest.fixture(scope="session")
def postgresql_url(peer_run: Run) -> str:
    """Administrator's URL of the run's PostgreSQL; a test wants one of the next fixtures instead."""
    registry.require(postgresql.PEER)
    return peer_run.once("postgresql", lambda: postgresql.start(peer_run))["url"]


@pytest.fixture(scope="session")
def databases(postgresql_url: str) -> Iterator[postgresql.Databases]:
    """Makes and drops databases of the run's PostgreSQL."""
    made = postgresql.Databases(postgresql_url)
    yield made
    made.close()


@pytest.fixture
def postgresql_database(databases: postgresql.Databases) -> Iterator[str]:
    """postgresql:// URL of a fresh, empty database that only this test has."""
    url = databases.new()
    yield url
    databases.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database that only this test has, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url: str = request.getfixturevalue("postgresql_database")
    return url


@pytest.fixture(scope="session")
def new_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    """`with new_store("sqlite" or "postgresql"[, folder]) as url`: an empty store of one's own.

    It is a copy, for an eighth of the time that it takes to make the schema.
    """

    @cache
    def sqlite_model() -> Path:
        file = tmp_path_factory.mktemp("model") / "store.db"
        Store.open(f"sqlite:///{file}").close()
        return file

    @cache
    def postgresql_model() -> str:
        def make() -> dict[str, str]:
            url = databases.new()
            Store.open(url).close()
            return {"name": url.rpartition("/")[2]}

        databases: postgresql.Databases = request.getfixturevalue("databases")
        run: Run = request.getfixturevalue("peer_run")
        return run.once("postgresql-model", make)["name"]

    @contextmanager
    def new(kind: str, folder: Path | None = None) -> Iterator[str]:
        if kind == "sqlite":
            file = (folder or tmp_path_factory.mktemp("store")) / "store.db"
            shutil.copy(sqlite_model(), file)
            yield f"sqlite:///{file}"
            return
        databases: postgresql.Databases = request.getfixturevalue("databases")
        url = databases.new(like=postgresql_model())
        yield url
        databases.drop(url)

    return new


@pytest.fixture
def postgresql_store(new_store: NewStore) -> Iterator[str]:
    """postgresql:// URL of an empty store that only this test has."""
    with new_store("postgresql") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(
    request: pytest.FixtureRequest,
    new_store: NewStore,
    tmp_path: Path,
) -> Iterator[str]:
    """URL of an empty store that only this test has, once on SQLite and once on PostgreSQL."""
    with new_store(request.param, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def new_hapi(peer_run: Run) -> Callable[[], str]:
    """Returns the base URL of one more HAPI FHIR server, empty, each time it is called."""
    registry.require(servers.HAPI)
    url = peer_run.once("hapi", lambda: servers.start_hapi(peer_run))["url"]
    return lambda: servers.new_hapi_partition(url)


@pytest.fixture
def hapi_url(new_hapi: Callable[[], str]) -> str:
    """Base URL of a HAPI FHIR server, empty, that only this test has."""
    return new_hapi()


@pytest.fixture
def searching_hapi_url(peer_run: Run) -> str:
    """Base URL of a HAPI FHIR server with every kind of search that it has; empty for its first test only.

    It is the default partition, since HAPI takes no ValueSet in any other.
    """
    registry.require(servers.HAPI)
    started = peer_run.once("searching-hapi", lambda: servers.start_hapi(peer_run, all_searches=True))
    return f"{started['url']}/DEFAULT"


@pytest.fixture
def exporting_hapi_url(peer_run: Run) -> str:
    """Base URL of a HAPI FHIR server, empty, that only this test has, and that gives bulk exports."""
    registry.require(servers.HAPI)
    started = peer_run.once("exporting-hapi", lambda: servers.start_hapi(peer_run, exports=True))
    return servers.new_hapi_partition(started["url"])


@pytest.fixture(scope="session")
def new_medplum(peer_run: Run) -> Callable[[], str]:
    """Returns the base URL of one more Medplum router, empty, each time it is called."""
    registry.require(servers.MEDPLUM)
    url = peer_run.once("medplum", lambda: servers.start_medplum(peer_run))["url"]
    return lambda: servers.new_medplum_repository(url)


@pytest.fixture
def medplum_url(new_medplum: Callable[[], str]) -> str:
    """Base URL of a Medplum router, empty, that only this test has."""
    return new_medplum()


@pytest.fixture(scope="session")
def keycloak_url(peer_run: Run) -> str:
    """Base URL of a Keycloak; a test makes a realm of its own in it (`authority.Realm`)."""
    registry.require(authority.PEER)
    return peer_run.once("keycloak", lambda: authority.start(peer_run))["url"]


@pytest.fixture(scope="session")
def foreign_hospital(peer_run: Run) -> hospitals.Hospital:
    """A small hospital that nobody here wrote; no test changes it."""
    registry.require(hospitals.PEER)
    return hospitals.read(peer_run.once("clinosim", lambda: hospitals.generate(peer_run)))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    registry.require(browser.PEER)
    found = browser.path()
    assert found is not None
    return found
