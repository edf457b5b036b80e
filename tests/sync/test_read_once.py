"""How often a changed record is decoded, hashed and validated on its way from a page to its version."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import default_validator, run
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

MARK = "a note that no other record has"


class Probe:
    """Notes each time a decoder of ours sees the marked record: what kind of decoder, and whose it is."""

    def __init__(self) -> None:
        self.decoded: list[str] = []
        self.hashed: list[str] = []

    def watching(self, decoder: Any, name: str) -> Callable[..., Any]:
        # Only the hash wants decimals as they were written.
        seen = self.hashed if getattr(decoder.__self__, "float_hook", None) else self.decoded

        def decode(raw: bytes | str, *more: Any, **options: Any) -> Any:
            if MARK.encode() in (raw.encode() if isinstance(raw, str) else bytes(raw)):
                seen.append(name)
            return decoder(raw, *more, **options)

        return decode


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """At every decoder that a module of ours holds, but those that take a page apart."""
    default_validator()
    made = Probe()
    found = 0
    for name, module in list(sys.modules.items()):
        if not name.startswith("fhir_coprod.") or name == "fhir_coprod.sync.ehr.paging":
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(getattr(value, "__self__", None), msgspec.json.Decoder):
                monkeypatch.setattr(module, attribute, made.watching(value, f"{name}.{attribute}"))
                found += 1
    assert found > 3, "our decoders are held in another way; watch them there"
    monkeypatch.setattr(msgspec.json, "decode", made.watching(msgspec.json.decode, "msgspec.json.decode"))
    return made


def test_a_changed_task_is_decoded_twice_hashed_once_and_validated_once(tmp_path: Path, probe: Probe) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    validated: list[str] = []
    validate = default_validator()

    def counting(document: Document) -> Outcome:
        if MARK.encode() in document.raw:
            validated.append(document.type)
        return validate(document)

    ehr = Ehr(last_updated=True).load(
        organization("care"),
        patient("p", "1"),
        referral("s", "Patient/p", "R"),
        task("t", "Patient/p", "ServiceRequest/s"),
    )
    with serving(ehr), Store.open(url) as store:
        run(store, settings_for(care=ehr))
        ehr.put(task("t", "Patient/p", "ServiceRequest/s", "accepted", description=MARK))
        (report,) = run(store, settings_for(care=ehr), validate=counting)
        assert report.counts["Task"].updated == 1
        seen = (list(probe.decoded), list(probe.hashed), list(validated))
        (version,) = store.history("Task", count=1)
    assert version.version == 2
    assert MARK.encode() in version.body
    assert len(seen[0]) <= 2, seen
    assert len(seen[1]) == 1, seen
    assert len(seen[2]) == 1, seen
