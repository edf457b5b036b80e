"""Which resource a record belongs to when others come, change and go."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.errors import Gone
from fhir_coprod.store import Store
from fhir_coprod.sync.merging.link import new_id
from fhir_coprod.sync.staging.identity import CROWD
from fhir_coprod.sync.staging.references import Record
from tests.sync.records import Json, organization, patient, referral, task
from tests.sync.story import goes, ids, settled, shown, told
from tests.sync.test_arrival import put

UNLIKE: Json = {"birthDate": "1999-09-09", "name": [{"family": "Ek", "given": ["Bo"]}]}


def named(number: str) -> Json:
    return {"type": "Organization", "identifier": {"system": "urn:org", "value": number}}


def test_a_record_that_nothing_matches_has_an_id_made_from_where_it_came_from(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("care", task("t", "Patient/p", "Task/x")))
    for type, id in (("Patient", "p"), ("Task", "t")):
        assert ids(store, type) == {f"care/{id}": new_id(Record("care", type, id))}
    assert new_id(Record("care", "Patient", "p")) == "2d30dce3-dbe2-5f00-85e2-381e8551a2ab"


def test_records_that_are_one_get_the_id_of_the_smallest(store: Store) -> None:
    told(store, ("ortho", organization("a", "O")), ("care", organization("z", "O")))
    assert set(ids(store, "Organization").values()) == {new_id(Record("care", "Organization", "z"))}


def test_who_joins_takes_the_id_that_is_there(store: Store) -> None:
    told(store, ("ortho", patient("q", "1")))
    told(store, ("care", patient("p", "1")))
    assert set(ids(store, "Patient").values()) == {new_id(Record("ortho", "Patient", "q"))}


def test_of_two_resources_that_become_one_that_of_more_records_stays(store: Store) -> None:
    told(store, ("care", organization("a", "A")))
    told(store, ("neuro", organization("b", "B")), ("ortho", organization("c", "B")))
    kept = ids(store, "Organization")["neuro/b"]
    lost = ids(store, "Organization")["care/a"]
    told(store, ("care", organization("a", "B")))
    assert set(ids(store, "Organization").values()) == {kept}
    with pytest.raises(Gone):
        store.read("Organization", lost)


def test_of_two_resources_of_one_record_each_that_of_the_smaller_record_stays(store: Store) -> None:
    told(store, ("ortho", patient("q", "2", **UNLIKE)))
    told(store, ("care", patient("p", "1")))
    told(store, ("ortho", patient("q", "1")))
    assert set(ids(store, "Patient").values()) == {new_id(Record("care", "Patient", "p"))}


def test_an_id_stays_with_the_record_it_was_made_from(store: Store) -> None:
    told(store, ("ortho", patient("q", "1")))
    told(store, ("care", patient("p", "1")))
    told(store, ("care", patient("p", "2", **UNLIKE)))
    assert ids(store, "Patient") == {
        "care/p": new_id(Record("care", "Patient", "p")),
        "ortho/q": new_id(Record("ortho", "Patient", "q")),
    }


def test_two_that_are_joined_parted_and_joined_again_end_as_one(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "2", **UNLIKE)))
    before = ids(store, "Patient")
    for _ in range(2):
        told(store, ("ortho", patient("q", "1")))
        assert set(ids(store, "Patient").values()) == {before["care/p"]}
        retired = store.read("Patient", before["ortho/q"]).data
        assert (retired["active"], retired["link"][0]["type"]) == (False, "replaced-by")
        told(store, ("ortho", patient("q", "2", **UNLIKE)))
        assert ids(store, "Patient") == before
        again = store.read("Patient", before["ortho/q"]).data
        assert again["birthDate"] == "1999-09-09"
        assert not again.keys() & {"active", "link"}


def test_orders_become_one_when_their_patients_do_and_part_with_them(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "2", **UNLIKE)))
    told(
        store,
        ("care", referral("s", "Patient/p", "R1")),
        ("ortho", referral("t", "Patient/q/_history/3", "R1")),
        ("care", task("a", "Patient/p", "ServiceRequest/s", number="T")),
        ("ortho", task("b", "Patient/q", "ServiceRequest/t", number="T")),
    )
    for number, expected in (("1", 1), ("2", 2)):
        more = {} if number == "1" else UNLIKE
        told(store, ("ortho", patient("q", number, **more)))
        for type in ("ServiceRequest", "Task"):
            assert len(set(ids(store, type).values())) == expected


def test_orders_become_one_when_their_patient_arrives_after_them(store: Store) -> None:
    told(
        store,
        ("care", referral("s", "Patient/p", "R1")),
        ("ortho", referral("t", "https://ortho.example/Patient/q", "R1")),
    )
    assert len(set(ids(store, "ServiceRequest").values())) == 2
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")))
    assert len(set(ids(store, "ServiceRequest").values())) == 1


def test_orders_of_a_patient_who_is_deleted_are_not_brought_together(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")))
    goes(store, "ortho", "Patient/q")
    told(store, ("care", referral("s", "Patient/p", "R1")), ("ortho", referral("t", "Patient/q", "R1")))
    assert len(set(ids(store, "ServiceRequest").values())) == 2


def test_orders_whose_patient_has_no_address_are_not_brought_together(store: Store) -> None:
    told(
        store,
        ("care", referral("s", "#p", "R1", contained=[patient("p", "1")])),
        ("ortho", referral("t", "#p", "R1", contained=[patient("p", "1")])),
    )
    assert len(set(ids(store, "ServiceRequest").values())) == 2


def test_who_leads_an_order_is_asked_again_when_the_place_of_its_requester_arrives(store: Store) -> None:
    doctor = {
        "resourceType": "PractitionerRole",
        "id": "dr",
        "organization": {"reference": "Organization/gp"},
    }
    told(
        store,
        ("care", patient("p", "1")),
        ("ortho", patient("q", "1")),
        ("care", doctor),
        ("care", referral("s", "Patient/p", "R", requester={"reference": "PractitionerRole/dr"})),
        ("ortho", referral("t", "Patient/q", "R", status="on-hold")),
    )
    assert shown(store, "ServiceRequest", "care/s")["status"] == "on-hold", "by the order of the settings"
    told(store, ("care", organization("gp", "GP")))
    assert shown(store, "ServiceRequest", "care/s")["status"] == "active", "its requester's"


def test_who_refers_to_a_resource_follows_it_to_its_new_id(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "2", **UNLIKE)))
    told(store, ("ortho", task("t", "Patient/q", "ServiceRequest/x")))
    told(store, ("ortho", patient("q", "1")))
    kept = ids(store, "Patient")["care/p"]
    assert shown(store, "Task", "ortho/t")["for"] == {"reference": f"Patient/{kept}"}


def test_who_names_a_holder_follows_it_to_its_new_id(store: Store) -> None:
    told(store, ("care", organization("a", "A")), ("ortho", organization("b", "B")))
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("B"))))
    own = ids(store, "Organization")
    assert shown(store, "Task", "neuro/t")["owner"]["reference"] == f"Organization/{own['ortho/b']}"
    both: Json = {"resourceType": "Organization", "id": "b", "name": "Both"}
    both["identifier"] = [{"system": "urn:org", "value": number} for number in "AB"]
    told(store, ("ortho", both))
    assert shown(store, "Task", "neuro/t")["owner"]["reference"] == f"Organization/{own['care/a']}"


def test_who_names_a_holder_follows_it_though_nothing_came_of_that_identifier(store: Store) -> None:
    def numbered(id: str, *numbers: str) -> Json:
        identifiers = [{"system": "urn:org", "value": number} for number in numbers]
        return {"resourceType": "Organization", "id": id, "name": id, "identifier": identifiers}

    told(store, ("care", numbered("a", "A")), ("ortho", numbered("b", "B", "X")))
    told(store, ("neuro", task("t", "Patient/p", "Task/x", owner=named("B"))))
    own = ids(store, "Organization")
    told(store, ("care", numbered("a", "A", "X")))
    assert shown(store, "Task", "neuro/t")["owner"]["reference"] == f"Organization/{own['care/a']}"


def test_a_patient_replaced_by_one_who_came_earlier_joins_them(store: Store) -> None:
    told(store, ("care", patient("b", "1")))
    old = {"resourceType": "Patient", "id": "a"}
    link = {"other": {"reference": "Patient/b"}, "type": "replaced-by"}
    told(store, ("care", {**old, "link": [link]}), ("ortho", patient("b", "2", **UNLIKE)))
    own = ids(store, "Patient")
    assert own["care/a"] == own["care/b"] != own["ortho/b"]


def test_a_record_that_lives_again_has_the_id_it_had(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("care", organization("o", "O")))
    before = ids(store, "Patient"), ids(store, "Organization")
    goes(store, "care", "Patient/p", "Organization/o")
    settled(store)
    assert ids(store, "Patient") == {}
    told(store, ("care", patient("p", "1")), ("care", organization("o", "O")))
    assert (ids(store, "Patient"), ids(store, "Organization")) == before


def test_a_record_that_goes_leaves_the_resource_to_the_others(store: Store) -> None:
    told(store, ("care", patient("p", "1", gender="female")), ("ortho", patient("q", "1")))
    own = ids(store, "Patient")["care/p"]
    goes(store, "care", "Patient/p")
    settled(store)
    assert ids(store, "Patient") == {"ortho/q": own}
    left = store.read("Patient", own).data
    assert "gender" not in left
    assert "link" not in left


@pytest.mark.parametrize(("number", "expected"), [(CROWD, 1), (CROWD + 1, CROWD + 1)])
def test_an_identifier_brings_together_as_many_as_a_crowd_and_no_more(
    store: Store, number: int, expected: int
) -> None:
    everybody = [(f"e{n}", organization("o", "0")) for n in range(number)]
    told(store, *everybody)
    assert len(set(ids(store, "Organization").values())) == expected
    again: list[Any] = [(ehr, organization("o", "0", name="Ward")) for ehr, _ in everybody[:2]]
    told(store, *again)
    assert len(set(ids(store, "Organization").values())) == expected


def test_how_many_records_share_a_resource_is_told_of_the_living(store: Store) -> None:
    put(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")), ("neuro", patient("r", "1")))
    put(store, ("care", organization("1")), ("ortho", organization("1")))
    assert settled(store).merged == {("care", "Patient"): 1, ("ortho", "Patient"): 1, ("neuro", "Patient"): 1}
    goes(store, "care", "Patient/p")
    assert settled(store).merged == {("ortho", "Patient"): 1, ("neuro", "Patient"): 1}
    goes(store, "ortho", "Patient/q")
    assert settled(store).merged == {}
