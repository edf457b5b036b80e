"""Syncs with scripted EHRs, and what the store then holds, in words that do not depend on its own ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fhir_coprod.accounts import ClientCredentialsAuth
from fhir_coprod.settings import EhrSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.sync.staging.stage import holdings
from tests.sync.scripted.ehr import CLIENT, SECRET, ScriptedEhr
from tests.sync.scripted.records import DEPARTMENT, TYPES, order

PATIENTS = 3
Picture = dict[str, str]
"""Type and id there → what is held here."""


def settings_of(
    ehr: ScriptedEhr, folder: Path, vendor: str = "", url: str = "", patients: int = PATIENTS
) -> Settings:
    """Settings that name this EHR; what it may need (a secret) is put into the folder."""
    more: dict[str, Any] = {}
    if ehr.signed_in:
        secret = folder / "secret"
        secret.write_text(SECRET)
        more["auth"] = ClientCredentialsAuth(type="client-credentials", client_id=CLIENT, secret_file=secret)
    lists = not ehr.script.types["Patient"].needs
    return Settings(
        store=StoreSettings(url=url) if url else StoreSettings(),
        ehr=(
            EhrSettings(
                name="ward",
                url=ehr.url,
                vendor=vendor,
                department=f"Organization/{DEPARTMENT}" if "Organization" in ehr.script.types else "",
                types=TYPES,
                patients=() if lists else tuple(f"p{number}" for number in range(patients)),
                requests_per_second=1000,
                timeout=5,
                **more,
            ),
        ),
    )


def life_goes_on(ehr: ScriptedEhr) -> None:
    """What happens at the hospital between two syncs: something is new, changed, and deleted."""
    ehr.put(order("Patient/p1", "new"))
    changed = next(ref for ref in ehr.records if ref.startswith("ServiceRequest/p0"))
    ehr.put({**ehr.records[changed], "priority": "urgent"})
    ehr.delete("Encounter/visit-2")


_SERVED_AT = re.compile(r"http://127\.0\.0\.1:\d+")
_OURS = re.compile(r"\b([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")


def picture(store: Store) -> Picture:
    """All living records as they are published here, with the ids of the EHR; dead letters, too."""
    with store.connect() as connection:
        held = holdings(connection)
        letters = list(dead_letters.read(connection))
    names = {f"{one.type}/{one.id}": f"{one.type}/{one.foreign_id}" for one in held}
    found = {}
    for one in held:
        data = json.loads(store.read(one.type, one.id).body)
        data.pop("meta", None)
        data.pop("id", None)
        text = _SERVED_AT.sub("http://there", json.dumps(data, sort_keys=True))
        found[f"{one.type}/{one.foreign_id}"] = _OURS.sub(lambda m: names.get(m[0], m[0]), text)
    return {**found, **{f"dead {letter.position}": letter.reason for letter in letters}}
