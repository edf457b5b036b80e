"""When a sync joins two patients, nobody sees more than before until a person confirms it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sight import seen
from fhir_coprod.errors import NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store, joins
from fhir_coprod.sync.merging import matches
from fhir_coprod.sync.staging.references import Record
from tests.access.callers import caller
from tests.access.test_objections import PRIVACY
from tests.peers.fixtures import NewStore
from tests.sync.records import organization, patient, referral
from tests.sync.story import ids, settled, told

UNLIKE: Json = {"birthDate": "1999-09-09", "name": [{"family": "Ek", "given": ["Bo"]}]}


def observed(id: str, of: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": id},
        "subject": {"reference": of},
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as opened:
        told(opened, ("care", organization("A", "A")), ("ortho", organization("B", "B")))
        told(opened, ("care", patient("p", "1")), ("ortho", patient("q", "2", **UNLIKE)))
        told(
            opened,
            ("care", referral("s", "Patient/p", "R1", requester={"reference": "Organization/A"})),
            ("ortho", referral("t", "Patient/q", "R2", requester={"reference": "Organization/B"})),
            ("care", observed("x", "Patient/p")),
            ("ortho", observed("y", "Patient/q")),
        )
        yield opened


def join(store: Store) -> None:
    told(store, ("ortho", patient("q", "1")))


def who(store: Store, ehr: str) -> Rights:
    name = ids(store, "Organization")[f"{ehr}/{'A' if ehr == 'care' else 'B'}"]
    return caller("person", "user/*.rs", name)


def sees(store: Store, rights: Rights) -> set[str]:
    """What of the records of the two they see, by the names of their EHRs."""
    names = {}
    for type in ("Patient", "ServiceRequest", "Observation"):
        for record, id in ids(store, type).items():
            names.setdefault(f"{type}/{id}", []).append(f"{record.partition('/')[2]}")
    return {record for name in seen(store, rights, list(names)) for record in names[name]}


def test_a_department_sees_its_own_and_not_the_others(store: Store) -> None:
    care, ortho = who(store, "care"), who(store, "ortho")
    assert sees(store, care) == {"p", "s", "x"}
    assert sees(store, ortho) == {"q", "t", "y"}
    join(store)
    assert len(set(ids(store, "Patient").values())) == 1
    assert sees(store, care) == {"s"}
    assert sees(store, ortho) == {"t"}
    (one, *_) = set(ids(store, "Patient").values())
    store.write(lambda t: joins.confirm(t, one, "Karin Sand"))
    assert sees(store, care) == {"p", "q", "s", "x", "y"}
    assert sees(store, ortho) == {"p", "q", "t", "x", "y"}
    with pytest.raises(NotFound):
        store.write(lambda t: joins.confirm(t, one, "Karin Sand"))


def test_a_referral_of_its_own_for_who_was_joined_opens_the_record(store: Store) -> None:
    join(store)
    care, ortho = who(store, "care"), who(store, "ortho")
    told(store, ("care", referral("new", "Patient/p", "R3", requester={"reference": "Organization/A"})))
    assert sees(store, care) == {"p", "q", "s", "new", "x", "y"}
    assert sees(store, ortho) == {"t"}


def test_a_persons_word_confirms_what_it_joins(store: Store) -> None:
    pair = (Record("care", "Patient", "p"), Record("ortho", "Patient", "q"))
    store.write(lambda t: matches.say(t, [pair], "same", "Karin Sand"))
    settled(store)
    assert store.write(joins.waiting) == []
    assert sees(store, who(store, "care")) == {"p", "q", "s", "x", "y"}


@pytest.mark.parametrize("kind", ["patient", "proxy"])
def test_a_fresh_join_opens_nothing_for_a_patient_or_a_proxy(store: Store, kind: str) -> None:
    before = ids(store, "Patient")
    for ehr, mine in (("care/p", {"p", "s", "x"}), ("ortho/q", {"q", "t", "y"})):
        assert sees(store, caller(kind, "patient/*.rs", patient=before[ehr])) == mine  # type: ignore[arg-type]
    join(store)
    kept = ids(store, "Patient")["care/p"]
    for id, mine in ((before["care/p"], {"p", "s", "x"}), (before["ortho/q"], {"q", "t", "y"})):
        own = caller(kind, "patient/*.rs", patient=id)  # type: ignore[arg-type]
        assert sees(store, own) <= mine | ({"p", "q"} if id != kept else set()), id
    store.write(lambda t: joins.confirm(t, kept, "Karin Sand"))
    own = caller(kind, "patient/*.rs", patient=kept)  # type: ignore[arg-type]
    assert sees(store, own) == {"p", "q", "s", "t", "x", "y"}


def test_what_one_record_refuses_holds_for_both(store: Store) -> None:
    care, ortho = who(store, "care"), who(store, "ortho")
    b = ortho.departments[0]
    lost = ids(store, "Patient")["ortho/q"]
    consent = {
        "resourceType": "Consent",
        "id": "no",
        "status": "active",
        "scope": PRIVACY,
        "category": [{"text": "objection"}],
        "patient": {"reference": f"Patient/{lost}"},
        "policyRule": {"text": "rule"},
        "provision": {
            "type": "deny",
            "actor": [{"role": {"text": "x"}, "reference": {"reference": b}}],
        },
    }
    from fhir_coprod.jsontext import from_data

    store.write(lambda t: t.put(from_data(consent), "no"))
    assert sees(store, ortho) == set()
    join(store)
    (one, *_) = set(ids(store, "Patient").values())
    store.write(lambda t: joins.confirm(t, one, "Karin Sand"))
    assert sees(store, ortho) == set()
    assert "x" in sees(store, care)
