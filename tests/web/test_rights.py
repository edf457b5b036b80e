"""What each may see and do on the pages: nothing of others exists for them, in any address or form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.access import grants, roles
from fhir_coprod.access.sessions import Person
from fhir_coprod.access_settings import AccessSettings
from fhir_coprod.errors import BadRequest, NotFound
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.merging.matches import task_id
from fhir_coprod.sync.staging.references import Record
from tests.sync.records import patient
from tests.sync.records import referral as referral_record
from tests.sync.story import ids, told
from tests.sync.test_people import SETTINGS
from tests.watch.hospital import DAY, Hospital
from tests.web.signing_in import ISSUER, ROLES, Issuer, Visit, fill, settings

OWN, OTHER = "/referral/ServiceRequest/late", "/referral/ServiceRequest/other"
ORTHO = {"roles": ["coordinator"], "groups": ["ortho"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, new_store: Any, tmp_path: Path) -> Iterator[Store]:
    with new_store(request.param, tmp_path) as url, Store.open(url) as opened:
        fill(opened)
        yield opened


def visitor(store: Store, chosen: Settings | None = None, **claims: Any) -> Visit:
    visit = Visit(store, chosen or settings(), Issuer(claims=claims))
    visit.sign_in()
    return visit


def test_the_board_shows_what_the_departments_of_a_person_sent_or_received(store: Store) -> None:
    ortho = visitor(store, **ORTHO).ask("/").text
    assert "Anna Berg" in ortho
    for hidden in ("Bo Kvist", "Womb", "ServiceRequest/other", "Gynaecology"):
        assert hidden not in ortho
    assert re.search(r"<dt>open referrals</dt><dd>1</dd>", ortho)
    everybody = visitor(store, roles=["reader"], groups=["all"]).ask("/").text
    assert "Anna Berg" in everybody
    assert "Bo Kvist" in everybody
    assert 'href="/fhir/' not in everybody, "the endpoint has its own way to say who one is"


def test_a_referral_of_others_is_answered_as_one_that_is_not_there(store: Store) -> None:
    visit = visitor(store, **ORTHO)
    everywhere = visitor(store, roles=["coordinator"], groups=["all"])
    head = store.head()
    for end, form in (
        ("", None),
        ("?take_back=1", None),
        ("/letter", None),
        ("/letter?about=unacknowledged&language=sv", None),
        ("/letter", {"about": "unacknowledged", "language": "sv"}),
        ("/letter", {"take_back": "x"}),
        ("/acknowledge", {"note": "x"}),
        ("/snooze", {"until": "2099-01-01"}),
    ):
        said = []
        for path in (OTHER, "/referral/ServiceRequest/nobody"):
            answer = visit.send(path + end, form) if form else visit.ask(path + end)
            assert answer.status_code == 404, path + end
            said.append(re.sub('value="[0-9a-f]{64}"', "", answer.text).replace(path[10:], "IT"))
        assert said[0] == said[1]
        assert "Bo Kvist" not in said[0]
    assert store.head() == head
    assert everywhere.ask(OTHER).status_code == 200
    assert visit.ask(OWN).status_code == 200


def test_a_letter_of_another_referral_is_not_taken_back_by_way_of_ones_own(store: Store) -> None:
    everywhere = visitor(store, roles=["coordinator"], groups=["all"])
    assert everywhere.send(f"{OTHER}/letter", {"about": "", "language": "en"}).status_code == 303
    [letter] = [one for one in Hospital(store).all("Communication") if one["status"] == "completed"]
    visit = visitor(store, **ORTHO)
    refused = visit.send(f"{OWN}/letter", {"take_back": letter["id"]})
    assert refused.status_code == 404
    assert store.read("Communication", letter["id"]).data["status"] == "completed"
    assert everywhere.send(f"{OTHER}/letter", {"take_back": letter["id"]}).status_code == 303


def test_a_role_that_only_reads_has_no_forms_and_cannot_send_them(store: Store) -> None:
    visit = visitor(store, roles=["reader"], groups=["all"])
    page = visit.ask(OWN).text
    assert f'action="{OWN}' not in page
    head = store.head()
    for path, form in (
        (f"{OWN}/acknowledge", {"note": "x"}),
        (f"{OWN}/snooze", {"until": "2099-01-01"}),
        (f"{OWN}/letter", {"about": "", "language": "en"}),
    ):
        answer = visit.send(path, form)
        assert answer.status_code == 403
        assert "Your role does not reach this" in answer.text
    assert visit.send("/people", {"pair": "x", "word": "same"}).status_code == 403
    assert store.head() == head


@pytest.mark.parametrize(
    "scopes",
    [
        ("user/ServiceRequest.rs", "user/Patient.rs", "user/Communication.c"),
        ("user/Organization.rs",),
        ("user/ServiceRequest.rs", "user/Patient.rs", "user/Task.rs", "user/Communication.r"),
        ("user/*.rs?_lastUpdated=ge2020",),
    ],
)
def test_a_role_that_reads_orders_only_is_not_told_what_tasks_and_letters_say(
    store: Store, scopes: tuple[str, ...]
) -> None:
    narrow = settings(roles={"narrow": {"scopes": scopes}})
    visit = visitor(store, narrow, roles=["narrow"], groups=["ortho"])
    for path in ("/", OWN, f"{OWN}/letter", OTHER):
        answer = visit.ask(path)
        assert answer.status_code == 403, path
        assert "Anna" not in answer.text
    whole = settings(roles={"narrow": {"scopes": ["user/*.rs"]}})
    assert "Anna Berg" in visitor(store, whole, roles=["narrow"], groups=["ortho"]).ask("/").text


def test_a_labelled_patient_is_on_no_page_of_those_whom_the_label_bars(store: Store) -> None:
    labelled = {"code": "V", "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"}
    named = {"resourceType": "Patient", "id": "of-late", "name": [{"text": "Anna Berg"}]}
    Hospital(store).put({**named, "meta": {"security": [labelled]}})
    visit = visitor(store, **ORTHO)
    assert "Anna Berg" not in visit.ask("/").text
    assert visit.ask(OWN).status_code == 404
    cleared = {"scopes": ["user/*.rs"], "cleared": ["V"]}
    chosen = settings({**ROLES, "physician": cleared})
    physician = visitor(store, chosen, roles=["physician"], groups=["ortho"])
    assert "Anna Berg" in physician.ask("/").text


def test_a_patient_who_is_not_on_record_hides_no_referral(store: Store) -> None:
    Hospital(store).refer("loose", authored=datetime.now(UTC) - 40 * DAY, code={"text": "Hip"})
    visit = visitor(store, **ORTHO)
    assert "Hip" in visit.ask("/").text
    assert visit.ask("/referral/ServiceRequest/loose").status_code == 200


def test_whoever_has_no_role_sees_whom_to_ask_and_nothing_else(store: Store) -> None:
    chosen = settings(ask="Ask Berit, room 12.")
    for claims in (
        {},
        {"roles": ["unknown"], "groups": ["ortho"]},
        {"roles": ["reader"]},
        {"groups": ["all"]},
    ):
        visit = visitor(store, chosen, **claims)
        for path in ("/", OWN, "/people", "/quality", "/operations", f"{OWN}/letter"):
            page = visit.ask(path)
            assert page.status_code == 403
            assert "Ask Berit, room 12." in page.text
            assert f"{ISSUER}|s-1" in page.text
            assert "Anna" not in page.text
        out = visit.ask("/sign-out", {"token": re.findall(r'value="(\w{64})"', page.text)[0]})
        assert out.status_code == 303
        assert visit.ask("/").status_code == 401


def test_pages_of_the_operation_tell_a_department_about_its_own_ehr(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        told(store, ("care", patient("p", "1")), ("ortho", patient("q", "2")))
        chosen = settings().model_copy(
            update={
                "ehr": Settings(
                    ehr=[{"name": n, "url": f"https://{n}.example"} for n in ("care", "ortho")]
                ).ehr
            }
        )
        some = visitor(store, chosen, **ORTHO).ask("/operations").text
        assert "care" not in some.partition("<main")[2]
        assert "stalled referrals" not in some
        whole = visitor(store, chosen, roles=["reader"], groups=["all"]).ask("/operations").text
        assert 'id="ehr-2">' in whole


# ------------------------------------------------------------------------------------------ joining patients


@pytest.fixture
def doubtful(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'doubtful.db'}") as opened:
        told(opened, ("care", patient("p", "19700102")), ("ortho", patient("q", gender="female")))
        told(opened, ("care", referral_record("s", "Patient/p")))
        yield opened


PAIR = task_id((Record("care", "Patient", "p"), Record("ortho", "Patient", "q")))


def test_patients_are_joined_only_by_who_sees_both_and_has_just_signed_in(doubtful: Store) -> None:
    visit = visitor(doubtful, **ORTHO)
    assert "Eva Öst" not in visit.ask("/people").text
    answer = visit.send("/people", {"pair": PAIR, "word": "same"})
    assert answer.status_code == 404
    assert "There is no pair" in answer.text
    known = settings().model_copy(update={"ehr": SETTINGS.ehr})
    everywhere = visitor(doubtful, known, roles=["coordinator"], groups=["all"], auth_time=1)
    assert "Eva Öst" in everywhere.ask("/people").text
    refused = everywhere.send("/people", {"pair": PAIR, "word": "same"})
    assert refused.status_code == 403
    assert f"/sign-in?to=/people%3Fpair%3D{PAIR}%26word%3Dsame" in refused.text
    again = everywhere.ask(f"/people?pair={PAIR}&word=same").text
    assert "You signed in again. You had chosen “the same person”" in again
    assert len(set(ids(doubtful, "Patient").values())) == 2
    del everywhere.issuer.claims["auth_time"]
    everywhere.sign_in()
    done = everywhere.send("/people", {"pair": PAIR, "word": "same", "by": "Somebody Else"})
    assert done.status_code == 303
    assert len(set(ids(doubtful, "Patient").values())) == 1
    with doubtful.connect() as connection:
        said = connection.exec_driver_sql("SELECT * FROM person_word").all()
    assert "Karin Sand" in repr(said)
    assert "Somebody Else" not in repr(said)


# ------------------------------------------------------------------------------------------ patients


def test_a_patient_sees_their_own_referrals_and_what_they_were_told(store: Store) -> None:
    staff = visitor(store, roles=["coordinator"], groups=["all"])
    staff.send(f"{OWN}/letter", {"about": "unacknowledged", "language": "en"})
    visit = visitor(store, patient="of-late", name="Anna Berg")
    page = visit.ask("/").text
    assert "My referrals" in page
    assert "Knee" in page
    assert "A letter of" in page
    assert "Orthopaedics" in page
    for hidden in ("Womb", "Bo Kvist", "Karin Sand", "Acknowledge"):
        assert hidden not in page
    for path in (OWN, OTHER, f"{OWN}/letter", "/people", "/quality", "/operations"):
        assert visit.ask(path).status_code == 404
    head = store.head()
    assert visit.send(f"{OWN}/acknowledge", {"note": "x"}).status_code == 404
    assert visit.send("/people", {"pair": PAIR, "word": "same"}).status_code == 404
    assert store.head() == head


def test_what_is_kept_from_patients_is_not_on_their_page(store: Store) -> None:
    hidden = {"code": "NOPAT", "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode"}
    held = store.read("ServiceRequest", "late").data
    held = {name: value for name, value in held.items() if name != "meta"}
    Hospital(store).put({**held, "meta": {"security": [hidden]}})
    page = visitor(store, patient="of-late", name="Anna Berg").ask("/")
    assert page.status_code == 200
    assert "Knee" not in page.text


def test_what_is_kept_from_somebody_does_not_say_where_a_referral_stands(store: Store) -> None:
    """A Task is not on the page by itself: that the referral was accepted would tell of it."""
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    very = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    label = [{"code": "NOPAT", "system": act}, {"code": "V", "system": very}]
    long_ago = datetime.now(UTC) - 39 * DAY
    owner = {"reference": "Organization/ortho"}
    about = {"focus": {"reference": "ServiceRequest/late"}, "meta": {"security": label}}
    Hospital(store).task("hidden", "accepted", long_ago, owner=owner, **about)
    roles = {**ROLES, "cleared": {"scopes": ["user/*.rs"], "cleared": ["V"]}}
    cleared = visitor(store, settings(roles=roles), roles=["cleared"], groups=["ortho"])
    assert "accepted" in cleared.ask(OWN).text
    barred = visitor(store, **ORTHO)
    assert barred.ask(OWN).status_code == 200
    assert "accepted" not in barred.ask(OWN).text
    own = visitor(store, patient="of-late", name="Anna Berg").ask("/").text
    assert "Knee" in own
    assert "has accepted it" not in own


@pytest.mark.parametrize("claim", ["nobody", "of-late,of-other", "", "of-late|x", "*", "../of-late", 7])
def test_a_claim_that_names_no_single_patient_is_nobodys(store: Store, claim: Any) -> None:
    assert visitor(store, patient=claim).ask("/").status_code == 403


def test_a_patient_may_be_known_by_an_identifier(store: Store) -> None:
    system = "https://example.org/person"
    number = [{"system": system, "value": "19700102-1234"}]
    known = {
        "resourceType": "Patient",
        "id": "of-late",
        "identifier": number,
        "name": [{"text": "Anna Berg"}],
    }
    Hospital(store).put(known)
    chosen = settings(patient_system=system)
    assert "Knee" in visitor(store, chosen, patient="19700102-1234").ask("/").text
    for wrong in ("19700102-1235", "19700102-1234,1", "|"):
        assert visitor(store, chosen, patient=wrong).ask("/").status_code == 403
    Hospital(store).put({"resourceType": "Patient", "id": "twin", "identifier": number})
    assert visitor(store, chosen, patient="19700102-1234").ask("/").status_code == 403, "two of them"


# ------------------------------------------------------------------------------------------ roles


def test_a_right_in_one_department_does_not_reach_another(store: Store) -> None:
    visit = visitor(store, roles=["reader"], groups=["gyn"])
    name, now = f"{ISSUER}|s-1", datetime.now(UTC)
    grants.grant(store, visit.settings, [(name, "coordinator", "Organization/ortho")], None, now)
    page = visit.ask("/").text
    assert "Act otherwise" in page
    ways = dict(re.findall(r'name="way" value="([\w+]+)">([^<]+)<', page))
    assert len(ways) == 1
    seen = {"Anna Berg" in page: "Anna Berg", "Bo Kvist" in page: "Bo Kvist"}
    assert seen == {True: seen[True], False: seen[False]}, "one of the two, never both"
    [other] = ways
    assert visit.send("/acting", {"way": other}).headers["location"] == "/"
    changed = visit.ask("/").text
    assert seen[False] in changed
    assert seen[True] not in changed
    assert visit.send("/acting", {"way": "administrator"}).status_code == 400
    visit.sign_in()
    assert seen[False] in visit.ask("/").text, "who signs in again goes on as before"


def test_ways_to_act_are_the_departments_in_which_one_has_the_same_roles() -> None:
    chosen = AccessSettings(roles=ROLES)
    now = datetime.now(UTC)

    def given(*pairs: tuple[str, str]) -> list[grants.Grant]:
        return [grants.Grant("x", role, department, now, None) for role, department in pairs]

    nobody = Person("x", "X")
    assert roles.ways(chosen, nobody, []) == []
    assert roles.ways(chosen, nobody, given(("unknown", "Organization/a"))) == []
    [one] = roles.ways(chosen, nobody, given(("reader", "Organization/a"), ("reader", "Organization/b")))
    assert one.departments == ("Organization/a", "Organization/b")
    wide, narrow = roles.ways(
        chosen,
        nobody,
        given(("reader", "*"), ("reader", "Organization/a"), ("coordinator", "Organization/b")),
    )
    assert (wide.roles, wide.departments) == (("reader",), ("*",))
    assert (narrow.roles, narrow.departments) == (("coordinator",), ("Organization/b",))
    both = Person("x", "X", ("reader",), ("Organization/a",), "p")
    assert [way.key for way in roles.ways(chosen, both, [])] == ["reader", "patient"]


def test_a_grant_ends_with_its_day_and_an_altered_one_gives_nothing(store: Store) -> None:
    chosen, now = settings(), datetime.now(UTC)
    name = grants.full_name(chosen, "s-1")
    grants.grant(store, chosen, [(name, "reader", "Organization/ortho")], now + timedelta(days=1), now)
    with store.connect() as connection:
        assert len(grants.of(connection, name, now)) == 1
        assert grants.of(connection, name, now + timedelta(days=1)) == []
        assert grants.of(connection, f"{ISSUER}|s-2", now) == []
    store.write(lambda t: t.session.run("UPDATE user_grant SET role = 'coordinator'"))
    with store.connect() as connection:
        assert grants.of(connection, name, now) == []
    grants.revoke(store, name)
    insert = "INSERT INTO user_grant VALUES (?, 'reader', '*', 1, 0)"
    store.write(lambda t: t.session.run(insert, (name,)))
    with store.connect() as connection:
        assert grants.of(connection, name, now) == []


def test_a_grant_that_would_give_nothing_is_refused(store: Store) -> None:
    chosen, now = settings(), datetime.now(UTC)
    for role, department in (("unknown", "*"), ("reader", "ortho"), ("reader", "Patient/1"), ("reader", "")):
        with pytest.raises(BadRequest):
            grants.grant(store, chosen, [("x|y", role, department)], None, now)
    with pytest.raises(BadRequest, match="over already"):
        grants.grant(store, chosen, [("x|y", "reader", "*")], now, now)
    with pytest.raises(NotFound):
        grants.revoke(store, "x|y")
    assert grants.full_name(chosen, "s") == f"{ISSUER}|s"
    assert grants.full_name(Settings(), "https://a|s") == "https://a|s"
    for who, given in (("s", Settings()), ("|s", chosen), ("a|", chosen), ("a|s\x1b", chosen)):
        with pytest.raises(BadRequest):
            grants.full_name(given, who)


def test_a_person_is_found_by_a_form_and_only_where_they_are_seen(store: Store) -> None:
    number = [{"system": "https://example.org/person", "value": "19700102-1234"}]
    named = {
        "resourceType": "Patient",
        "id": "of-other",
        "name": [{"text": "Bo Kvist"}],
        "birthDate": "1970-01-02",
    }
    Hospital(store).put({**named, "identifier": number})
    everywhere = visitor(store, roles=["reader"], groups=["all"])
    for who in ("bo kvist", "KVIST", "1970-01-02", "19700102-1234"):
        page = everywhere.send("/find", {"who": who}).text
        assert "Womb" in page, who
        assert "Anna Berg" not in page
    for who in ("Nobody", "19700102-1235", "|", "a,b", "%", "' OR 1=1"):
        page = everywhere.send("/find", {"who": who})
        assert page.status_code == 200
        assert "No open referral of such a person" in page.text
    ortho = visitor(store, **ORTHO)
    said = [ortho.send("/find", {"who": who}).text for who in ("Bo Kvist", "Xx Xxxxx")]
    assert said[0].replace("Bo Kvist", "Xx Xxxxx") == said[1]
    assert ortho.ask("/find?who=Bo").status_code == 405
    assert ortho.ask("/find", {"who": "Bo"}).status_code == 403


def test_no_address_holds_a_name_or_a_number_of_a_person(store: Store) -> None:
    staff = visitor(store, roles=["coordinator"], groups=["all"])
    staff.send(f"{OWN}/letter", {"about": "", "language": "en"})
    for path in ("/", OWN, f"{OWN}/letter", "/people", "/quality", "/operations"):
        page = staff.ask(path).text
        for address in re.findall(r'(?:href|action|src)="([^"]*)"', page):
            assert not re.search("Anna|Berg|Bo|Kvist|Karin|Sand", address), address
        for form in re.findall(r"<form[^>]*>", page):
            assert 'method="post"' in form, "what is typed is never in an address"
