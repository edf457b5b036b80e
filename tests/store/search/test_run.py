"""The R4 search page (https://hl7.org/fhir/R4/search.html) as a table, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, UnknownParameter, UnknownType, Unsupported
from fhir_coprod.store import Query, Store
from tests.store.library import RESOURCES, UCUM, V2, ids, search

DATES = "year month day minute zone open ended period timing"

CASES = [
    # --- string: starts with, without case, accents, punctuation
    ("Patient?family=akesson", "anna bo"),
    ("Patient?family=ÅKESSON", "anna bo"),
    ("Patient?family=kesson", ""),
    ("Patient?family=Åkesson-b", "anna"),
    ("Patient?family=akessonb", "anna"),
    ("Patient?name=annie ohara", "anna"),
    ("Patient?name=Annie  O'H", "anna"),
    ("Patient?given=maria", "anna"),
    ("Patient?given=maria&given=anna", "anna"),
    ("Patient?given=maria,bo", "anna bo"),
    ("Patient?given=maria&given=bo", ""),
    ("Patient?family:exact=ÅKESSON", "bo"),
    ("Patient?family:exact=akesson", ""),
    ("Patient?family:contains=kess", "anna bo"),
    ("Patient?family:contains=berg", "anna"),
    ("Patient?family:contains=%", ""),
    ("Patient?address=malmo", "anna"),
    ("Patient?address-city=Malmö", "anna"),
    ("Patient?address=21120", ""),
    ("Patient?address=211 2", "anna"),
    ("Patient?phonetic=x", Unsupported),
    # --- token
    ("Patient?identifier=19700531-1234", "anna bo"),
    ("Patient?identifier=urn:pnr|19700531-1234", "anna"),
    ("Patient?identifier=|19700531-1234", "bo"),
    ("Patient?identifier=urn:mrn|", "anna bo"),
    ("Patient?identifier=urn:mrn|A\\,1\\|x", "anna"),
    ("Patient?identifier=urn:mrn|b2,urn:pnr|19700531-1234", "anna bo"),
    ("Patient?identifier:not=urn:mrn|b2", "anna cy"),
    ("Patient?identifier:of-type=" + V2 + "|MR|A\\,1\\|x", "anna"),
    ("Patient?identifier:of-type=" + V2 + "|MR", BadRequest),
    ("Patient?identifier:text=medical", "anna"),
    ("Patient?gender=female", "anna"),
    ("Patient?gender=http://hl7.org/fhir/administrative-gender|female", "anna"),
    ("Patient?gender=http://hl7.org/fhir/administrative-gender|", "anna bo"),
    ("Patient?gender=urn:other|female", ""),
    ("Patient?gender:not=female", "bo cy"),
    ("Patient?gender:not=female,male", "cy"),
    ("Patient?gender:missing=true", "cy"),
    ("Patient?gender:missing=false", "anna bo"),
    ("Patient?gender:missing=maybe", BadRequest),
    ("Patient?active=true", "anna"),
    ("Patient?active=false", "bo"),
    ("Patient?deceased=true", "cy"),
    ("Patient?phone=070-123", "anna"),
    ("Patient?telecom=email|a@b.se", "anna"),
    ("Patient?gender:in=http://x", Unsupported),
    ("Patient?gender:above=http://x|y", Unsupported),
    ("Patient?gender:below=http://x|y", Unsupported),
    ("Patient?gender:exact=female", Unsupported),
    ("Observation?value-concept:text=low back", "subject"),
    ("ServiceRequest?code:text=only", "s"),
    ("ServiceRequest?code:missing=false", "s"),
    # --- reference
    ("Observation?subject=Patient/anna", "subject"),
    ("Observation?subject=anna", "subject"),
    ("Observation?subject:Patient=anna", "subject"),
    ("Observation?subject:Patient=Patient/anna", "subject"),
    ("Observation?subject:Organization=anna", BadRequest),
    ("Observation?patient=anna", "subject"),
    ("Observation?subject=http://other.example/fhir/Patient/anna", "away"),
    ("Observation?subject=Patient/anna,Patient/bo", "subject other"),
    ("Observation?subject:missing=false", "subject other away shown"),
    ("ServiceRequest?subject=Patient/anna", "s"),
    ("ServiceRequest?subject=Patient/anna/_history/1", "s"),
    ("ServiceRequest?subject=anna", "s b"),
    ("ServiceRequest?patient=anna", "s"),
    ("ServiceRequest?based-on:missing=false", "s b"),
    ("ServiceRequest?instantiates-canonical=http://x.example/plan", "s"),
    ("ServiceRequest?instantiates-canonical=http://x.example/plan|1.0", "s"),
    ("ServiceRequest?instantiates-canonical=http://x.example/plan|2.0", ""),
    ("Patient?organization:identifier=urn:org|42", "bo"),
    ("Patient?organization:missing=true", "cy"),
    # --- uri
    ("ValueSet?url=http://x.example/vs/a", "v"),
    ("ValueSet?url=http://x.example/vs", ""),
    ("ValueSet?url:below=http://x.example/", "v"),
    # --- number
    ("RiskAssessment?probability=0.8", "r1 r2"),
    ("RiskAssessment?probability=0.80", "r1"),
    ("RiskAssessment?probability=8e-1", "r1 r2"),
    ("RiskAssessment?probability=gt0.75", "r1"),
    ("RiskAssessment?probability=ge0.75", "r1 r2"),
    ("RiskAssessment?probability=lt0.2", "r2"),
    ("RiskAssessment?probability=ne0.8", "r2"),
    ("RiskAssessment?probability=ap0.78", "r1 r2"),
    ("RiskAssessment?probability=sa0.75", "r1"),
    ("RiskAssessment?probability=eb0.75", "r2"),
    ("RiskAssessment?probability=much", BadRequest),
    ("RiskAssessment?probability=1e999999", BadRequest),
    # --- quantity: 100 means 99.5 up to 100.5
    ("Observation?value-quantity=100", "q100 q99.6 qnone"),
    ("Observation?value-quantity=100.0", "q100 qnone"),
    ("Observation?value-quantity=1e2", "q100 q99.6 qnone"),
    ("Observation?value-quantity=100||mg", "q100 q99.6"),
    ("Observation?value-quantity=100|" + UCUM + "|mg", "q100 q99.6"),
    ("Observation?value-quantity=100|urn:other|mg", ""),
    ("Observation?value-quantity=5.4||gram", "q5.4"),
    ("Observation?value-quantity=5.4||g", "q5.4"),
    ("Observation?value-quantity=gt99.6||mg", "q100"),
    ("Observation?value-quantity=le99.6", "q99.6 q5.4"),
    ("Observation?value-quantity=100|mg", BadRequest),
    # --- date: ranges, as the table of prefixes words them
    ("Observation?date=2013", "year month day minute zone period"),
    ("Observation?date=2013-01", "month day minute zone period"),
    ("Observation?date=2013-01-14", "day minute"),
    ("Observation?date=2013-01-14T10:00Z", "minute"),
    ("Observation?date=2013-01-14T10:00:00Z", "minute"),
    ("Observation?date=2013-01-14T11:00:00+01:00", "minute"),
    ("Observation?date=2013-01-15T04:30:00Z", "zone"),
    ("Observation?date=ne2013-01-14", "year month zone open ended period timing"),
    ("Observation?date=gt2013-01-14", "year month zone open ended period timing"),
    ("Observation?date=ge2013-01-14", "year month day minute zone open ended period timing"),
    ("Observation?date=lt2013-01-14", "year month open ended period"),
    ("Observation?date=le2013-01-14", "year month day minute open ended period"),
    ("Observation?date=sa2013-01-14", "zone timing"),
    ("Observation?date=eb2013-01-14", ""),
    ("Observation?date=eb2013-02", "month day minute zone ended period"),
    ("Observation?date=ge2013-01-13&date=le2013-01-15", "year month day minute zone open ended period"),
    ("Observation?date=2014-02-03", ""),
    ("Observation?date=2014-02", "timing"),
    ("Observation?date=sa2014-01&date=eb2014-03", "timing"),
    ("Observation?date=gt2013-01-13&date=lt2013-01-14,gt2013-12", "year month open ended period timing"),
    ("Observation?date=gt2014", "open"),
    ("Observation?date:missing=false", DATES),
    ("Observation?date=2013-1-1", BadRequest),
    ("Observation?date=2013-02-30", BadRequest),
    ("Patient?birthdate=1970-05-31", "anna"),
    ("Patient?birthdate=1970", "anna bo"),
    ("Patient?birthdate=lt1970-06", "anna bo"),
    # --- the resource's own
    ("Patient?_id=anna", "anna"),
    ("Patient?_id=anna,bo,nobody", "anna bo"),
    ("Patient?_lastUpdated=gt2020", "anna bo cy"),
    ("Patient?_lastUpdated=lt2020", ""),
    ("Patient?_lastUpdated=lt2020,ge2020", "anna bo cy"),
    ("Patient?_tag=urn:tag|t1", "anna"),
    ("Patient?_security=R", "anna"),
    ("Patient?_profile=https://fhir-coprod.org/ig/StructureDefinition/x", "anna"),
    ("Patient?_source=urn:lab", "anna"),
    ("Patient?_text=x", Unsupported),
    ("Patient?_content=x", Unsupported),
    ("Patient?_filter=name eq x", Unsupported),
    ("Patient?_list=x", Unsupported),
    ("Patient?_query=x", Unsupported),
    ("Patient?_contained=true", Unsupported),
    ("Patient?_contained=false&_id=anna", "anna"),
    ("Patient?_sort:desc=name", Unsupported),
    ("Patient?_count:exact=1", Unsupported),
    ("Patient?_include:all=Patient:organization", Unsupported),
    ("Patient?gender:in=", Unsupported),
    ("Patient?family:foo=", Unsupported),
    ("Observation?patient.family:foo=x", Unsupported),
    ("Observation?subject.name:text=x", Unsupported),
    ("Patient?_has:Observation:patient:code:exact=x", Unsupported),
    ("Patient?nonsense=x", UnknownParameter),
    ("Patient?nonsense:foo=x", UnknownParameter),
    ("Observation?code-value-quantity=x$y", BadRequest),
    # --- special: 2.29 km apart
    ("Location?near=59.33|18.04|3|km", "ward"),
    ("Location?near=59.33|18.04|2.3", "ward"),
    ("Location?near=59.33|18.04|2.2|km", ""),
    ("Location?near=59.33|18.04|2300|m", "ward"),
    ("Location?near=59.33|18.04|1.5|[mi_us]", "ward"),
    ("Location?near=59.33|18.04|1.3|[mi_us]", ""),
    ("Location?near=59.33|18.04", "ward"),
    ("Location?near=60.35|18.03", ""),
    ("Location?near=-16.8|-179.99|3|km", "island"),
    ("Location?near=-16.8|-179.99|2|km", ""),
    ("Location?near=59.33|18.04|3|km,-16.8|179.99|1", "ward island"),
    ("Location?near:missing=false", "ward island"),
    ("Location?near:missing=true", "nowhere"),
    ("Location?near=18.04", BadRequest),
    ("Location?near=north|18.04", BadRequest),
    ("Location?near=590.33|18.04", BadRequest),
    ("Location?near=59.33|18.04|-1", BadRequest),
    ("Location?near=59.33|18.04|1|fathom", BadRequest),
    ("Location?_sort=near", UnknownParameter),
    # --- chains
    ("Observation?subject:Patient.name=anna", "subject"),
    ("Observation?subject.name=anna", "subject"),
    ("Observation?patient.gender=male", "other"),
    ("Observation?subject:Patient.organization.name=clinic", "subject"),
    ("Observation?patient.organization.partof.name=hosp", "subject"),
    ("Observation?patient.identifier=urn:mrn|b2", "other"),
    ("Observation?patient._id=bo", "other"),
    ("Observation?patient.name:exact=Bo", "other"),
    ("Observation?patient.gender:not=male", "subject"),
    ("Observation?patient.birthdate=lt1970-02", "other"),
    ("Observation?has-member.subject:Patient.name=anna", "other"),
    ("Observation?patient.nonsense=x", UnknownParameter),
    ("Observation?status.name=x", UnknownParameter),
    # --- _has
    ("Patient?_has:Observation:patient:value-concept=1", "anna"),
    ("Patient?_has:Observation:subject:performer=Practitioner/doc", "anna"),
    ("Patient?_has:Observation:patient:performer.name=doctor", "anna"),
    ("Patient?_has:Observation:patient:_has:Observation:has-member:status=final", "anna"),
    ("Patient?_has:Task:patient:status=requested&gender=female", "anna"),
    ("Organization?_has:Patient:organization:gender=female", "clinic"),
    ("Patient?_has:Patient:link:gender=male", "anna"),
    ("ServiceRequest?_has:Task:focus:status=requested", "s"),
    ("Patient?_has:Observation:status:code=1", UnknownParameter),
    ("Patient?_has:Observation", BadRequest),
    ("Patient?_has:Nothing:patient:code=1", UnknownParameter),
    # --- what a caller may get wrong
    ("Patient?name=", UnknownParameter),
    ("Patient?name=a\0", BadRequest),
    ("Patient?_count=many", BadRequest),
    ("Patient?_count=-1", BadRequest),
    ("Patient?_cursor=abc", BadRequest),
    ("Patient?_sort=nonsense", UnknownParameter),
    ("Patient?_total=some", BadRequest),
    ("Patient?_summary=some", BadRequest),
    ("Patient?_include=Patient", BadRequest),
    ("Patient?_include=Patient:gender", UnknownParameter),
    ("Nobody?name=x", UnknownType),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[case[0].replace("\0", "NUL") for case in CASES])
def test_search_finds_exactly(library: Store, text: str, expected: str | type[Exception]) -> None:
    if isinstance(expected, str):
        assert ids(search(library, text)) == expected
    else:
        with pytest.raises(expected):
            search(library, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient?_sort=birthdate", "bo anna cy"),
        ("Patient?_sort=-birthdate", "anna bo cy"),
        ("Patient?_sort=family", "bo anna cy"),
        ("Patient?_sort=-family", "anna bo cy"),
        ("Patient?_sort=gender,-_id", "anna bo cy"),
        ("Patient?_sort=-_id", "cy bo anna"),
        ("Patient?_sort=_lastUpdated", "anna bo cy"),
        ("Patient?_sort=-_lastUpdated", "cy bo anna"),
        ("Patient?_sort=active,-birthdate", "bo anna cy"),
        ("Patient?_sort=" + "birthdate,-birthdate," * 1_000 + "_id", "bo anna cy"),
        ("RiskAssessment?_sort=probability", "r2 r1"),
        ("RiskAssessment?_sort=-probability", "r1 r2"),
        ("Observation?value-quantity:missing=false&_sort=-value-quantity", "qnone q100 q99.6 q5.4"),
        ("Observation?subject:missing=false&_sort=subject,-_id", "shown subject other away"),
    ],
)
def test_sorting_puts_missing_values_last(library: Store, text: str, expected: str) -> None:
    assert ids(search(library, text)) == expected
    assert " ".join(walk(library, text, 1)) == expected


def walk(store: Store, text: str, count: int) -> list[str]:
    """All ids, by pages of `count`."""
    found: list[str] = []
    joint = "&" if "?" in text else "?"
    page = search(store, f"{text}{joint}_count={count}")
    while True:
        found += ids(page).split()
        assert len(page.matches) <= count
        if page.next is None:
            return found
        page = search(store, f"{text}{joint}_count={count}&_cursor={page.next}")


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize(
    "order", ["", "&_sort=date", "&_sort=-date", "&_sort=-_lastUpdated", "&_sort=status,-date"]
)
def test_pages_add_up_to_the_whole(library: Store, order: str, count: int) -> None:
    whole = ids(search(library, f"Observation?status=final{order}&_count=1000")).split()
    assert len(whole) == 17
    assert walk(library, f"Observation?status=final{order}", count) == whole


def test_pages_can_be_sorted_by_ten_parameters_and_by_no_more(library: Store) -> None:
    order = "status,date,code,category,method,subject,performer,encounter,identifier,value-quantity"
    found = walk(library, f"Observation?status=final&_sort={order}", 7)
    assert sorted(found) == sorted(ids(search(library, "Observation?status=final&_count=1000")).split())
    with pytest.raises(BadRequest, match="sort by fewer"):
        search(library, f"Observation?_sort={order},_id")


INCLUDES = [
    ("Observation?_id=subject&_include=Observation:subject", "Patient/anna"),
    (
        "Observation?_id=subject&_include=Observation:patient&_include=Observation:performer",
        "Patient/anna Practitioner/doc",
    ),
    ("Observation?_id=subject&_include=Observation:subject:Patient", "Patient/anna"),
    ("Observation?_id=subject&_include=Observation:subject:Group", ""),
    ("Observation?_id=subject&_include=Observation:subject&_include=Patient:organization", "Patient/anna"),
    (
        "Observation?_id=subject&_include=Observation:subject&_include:iterate=Patient:organization"
        "&_include:iterate=Organization:partof",
        "Organization/clinic Organization/hospital Patient/anna",
    ),
    ("Observation?_id=subject&_include=*", "Patient/anna Practitioner/doc"),
    ("Patient?_id=anna&_revinclude=Task:patient", "Task/t"),
    ("Patient?_id=anna&_revinclude=Observation:subject&_revinclude=Task:*", "Observation/subject Task/t"),
    (
        "Patient?_id=anna&_revinclude=ServiceRequest:subject&_revinclude:iterate=Task:focus",
        "ServiceRequest/s Task/t",
    ),
    ("Patient?_revinclude=Patient:link", ""),
    ("ServiceRequest?_id=s&_include=ServiceRequest:subject", "Patient/anna"),
    ("Observation?_id=away&_include=Observation:subject", ""),
]


@pytest.mark.parametrize(("text", "expected"), INCLUDES)
def test_includes_come_once_and_beside_the_matches(library: Store, text: str, expected: str) -> None:
    page = search(library, text)
    assert sorted(version.reference for version in page.included) == expected.split()


def test_total_is_given_when_asked_for_or_known(library: Store) -> None:
    assert search(library, "Patient?_count=1").total is None
    assert search(library, "Patient?_count=1&_total=accurate").total == 3
    assert search(library, "Patient?_count=3").total == 3
    assert search(library, "Patient?_summary=count").total == 3
    assert search(library, "Patient?_count=0").matches == []
    assert search(library, "Observation?patient.gender=male&_count=0").total == 1
    assert search(library, "Observation?status:not=final&_count=0").total == 0


def test_all_types_are_searched_together(library: Store) -> None:
    assert ids(search(library, "?_id=anna,doc,s")) == "anna doc s"
    assert ids(search(library, "?_type=Patient,Task&_lastUpdated=gt2020")) == "anna bo cy t"
    assert ids(search(library, "?_type=Patient,Task&_sort=-_lastUpdated")) == "t cy bo anna"
    assert ids(search(library, "?_tag=t1")) == "anna"
    assert search(library, "?_summary=count").total == len(RESOURCES)
    with pytest.raises(UnknownType):
        search(library, "?_type=Nobody")


def test_what_is_not_understood_is_ignored_and_named_unless_strict(library: Store) -> None:
    query = Query.parse(
        "Patient", [("nonsense", "x"), ("gender", "male"), ("_count", "5000"), ("_format", "json")]
    )
    assert ids(library.search(query)) == "bo"
    assert query.self_pairs() == [("gender", "male"), ("_count", "1000")]
    assert len(query.ignored) == 1
    assert "nonsense" in query.ignored[0]


def test_a_modifier_that_is_not_supported_is_never_ignored(library: Store) -> None:
    for asked in ("code:not-in=http://x", "subject:below=x", "_query=x", "patient.family:foo=x"):
        pair = tuple(asked.split("="))
        with pytest.raises(Unsupported, match="not supported"):
            Query.parse("Observation", [pair], strict=False)


def test_own_address_in_a_reference_is_taken_as_relative(library: Store) -> None:
    page = search(
        library, "Observation?subject=https://we.example/fhir/Patient/anna", base="https://we.example/fhir"
    )
    assert ids(page) == "subject"


def test_cursor_of_another_search_is_refused(library: Store) -> None:
    page = search(library, "Patient?_count=1")
    with pytest.raises(BadRequest, match="_cursor"):
        search(library, f"Patient?_count=1&gender=male&_cursor={page.next}")
    assert ids(search(library, f"Patient?_count=2&_cursor={page.next}")) == "bo cy"


def test_last_updated_is_a_range_like_any_date(library: Store) -> None:
    updated = library.read("Patient", "anna").updated
    exact = updated.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    later = (updated + timedelta(milliseconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert "anna" in ids(search(library, f"Patient?_lastUpdated={exact}"))
    assert "anna" not in ids(search(library, f"Patient?_lastUpdated=gt{exact}"))
    assert "anna" in ids(search(library, f"Patient?_lastUpdated=ge{exact}"))
    assert "anna" in ids(search(library, f"Patient?_lastUpdated=le{exact}"))
    assert "anna" in ids(search(library, f"Patient?_lastUpdated=lt{later}"))
    assert "anna" not in ids(search(library, f"Patient?_lastUpdated=sa{exact}"))
    assert "anna" in ids(search(library, f"Patient?_lastUpdated={datetime.now(UTC):%Y}"))
    assert "anna" in ids(search(library, f"Patient?_lastUpdated=ap{exact}"))


def test_an_updated_resource_is_found_by_what_it_says_now(store: Store) -> None:
    def put(family: str) -> None:
        document = jsontext.from_data({"resourceType": "Patient", "name": [{"family": family}]})
        store.write(lambda transaction: transaction.put(document, "p"))

    put("Before")
    put("After")
    assert ids(search(store, "Patient?name=before")) == ""
    assert ids(search(store, "Patient?name=after")) == "p"
    store.write(lambda transaction: transaction.delete("Patient", "p"))
    assert ids(search(store, "Patient?name=after")) == ""
    assert ids(search(store, "Patient")) == ""


def test_very_long_values_are_found(store: Store) -> None:
    """PostgreSQL refuses index rows above 2,704 bytes; what is cut must still tell equal from unequal."""
    long = "å" * 5000
    for id, value in (("a", long), ("b", long + "x")):
        data = {
            "resourceType": "Patient",
            "name": [{"family": value}],
            "identifier": [{"system": value, "value": value}],
        }
        document = jsontext.from_data(data)
        store.write(lambda transaction, document=document, id=id: transaction.put(document, id))
    assert ids(store.search(Query.parse("Patient", [("identifier", long)]))) == "a"
    assert ids(store.search(Query.parse("Patient", [("identifier", f"{long}x|{long}x")]))) == "b"
    assert ids(store.search(Query.parse("Patient", [("family:exact", long)]))) == "a"
    assert ids(store.search(Query.parse("Patient", [("family", "a" * 300)]))) == "a b"
