"""An endpoint that remembers every call, over a store of its own on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import time_ns

import pytest

from fhir_coprod.audit import heads
from fhir_coprod.audit.chain import month_of
from fhir_coprod.audit.finding import Found, Wanted, every
from fhir_coprod.audit.places import Places
from fhir_coprod.audit.verify import Flaw, verify
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.api.conftest import Api


class Audited:
    """A store with an audit: the endpoint over it, and what is remembered."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.heads = folder / "heads.jsonl"
        self.settings = Settings(
            store=StoreSettings(url=url), audit=AuditSettings(on=True, heads_file=self.heads)
        )
        self.store = Store.open(url)
        self.api = Api(self.store, self.settings)
        self.places = Places(self.store.database)
        self.month = month_of(time_ns() // 1_000_000)

    def stop(self) -> None:
        """End the server; the store stays open."""
        if self.api is not None:
            self.api.close()
            self.api = None  # type: ignore[assignment]

    def start(self) -> None:
        """Serve again: with chains of its own."""
        self.stop()
        self.api = Api(self.store, self.settings)

    def close(self) -> None:
        self.stop()
        self.places.close()
        self.store.close()

    def calls(self, **wanted: object) -> list[Found]:
        """What is remembered, the oldest first."""
        return list(every(self.places, Wanted(**wanted)))[::-1]  # type: ignore[arg-type]

    def flaws(self) -> list[Flaw]:
        """What the proof finds."""
        found: list[Flaw] = []
        verify(self.places, list(heads.read(self.heads)), found.append)
        return found

    def tamper(self, part: str, *statements: str) -> None:
        """Run SQL as somebody would who can write the database; `part`: reads or writes."""
        base = self.places.reads(self.month) if part == "reads" else self.store.database
        engine = base.make_engine()
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()


@pytest.fixture
def audited(store_url: str, tmp_path: Path) -> Iterator[Audited]:
    made = Audited(store_url, tmp_path)
    yield made
    made.close()
