"""The hospital behind a FHIR server, read by the sync over HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from evidence.foreign.dirt import Dirty
from evidence.foreign.judged import name_of
from evidence.foreign.ways import Json
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.staging.stage import holdings
from tests.sync.departments import QUICK
from tests.sync.server import Ehr, serving


class Synced(NamedTuple):
    """What a sync has brought."""

    store: Store
    settings: Settings
    ours: Mapping[str, str]
    """From a record's reference at the EHR to ours."""
    letters: Sequence[bytes]
    """The bytes of what could not be read."""


@contextmanager
def synced(records: Sequence[Json], dirty: Mapping[str, Dirty]) -> Iterator[Synced]:
    """A store that has read the hospital's server, which sends some records dirty."""
    ehr = Ehr().load(*records)
    for record in records:
        if spoilt := dirty.get(name_of(record)):
            ehr.broken[spoilt.name] = spoilt.raw
    with tempfile.TemporaryDirectory() as folder, serving(ehr):
        settings = Settings(ehr=(EhrSettings(name="hospital", url=ehr.url, requests_per_second=1000),))
        with Store.open(f"sqlite:///{Path(folder, 's.db')}") as store:
            run(store, settings, politeness=QUICK)
            with store.connect() as connection:
                held = {
                    f"{one.type}/{one.foreign_id}": f"{one.type}/{one.id}" for one in holdings(connection)
                }
                letters = [letter.body for letter in dead_letters.read(connection)]
            yield Synced(store, settings, held, letters)
