"""Signing in, and each known way to get in without it, beside an honest one."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from fhir_coprod import jsontext
from fhir_coprod.access import grants, sessions
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from tests.watch.hospital import Hospital
from tests.web.signing_in import CLIENT, HOME, ISSUER, Issuer, Visit, fill, settings

LATE = "/referral/ServiceRequest/late"
COORDINATOR = {"roles": ["coordinator"], "groups": ["ortho"]}


@pytest.fixture(scope="session")
def hospital_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("hospital") / "store.db"
    with Store.open(f"sqlite:///{file}") as store:
        fill(store)
    return file


@pytest.fixture
def store(hospital_file: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(hospital_file, tmp_path / "store.db")
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@pytest.fixture
def either(store_url: str) -> Iterator[Visit]:
    """A visit to a store on each database."""
    with Store.open(store_url) as opened:
        fill(opened)
        yield Visit(opened, settings(), Issuer(claims=dict(COORDINATOR)))


@pytest.fixture
def chosen() -> Settings:
    return settings()


@pytest.fixture
def visit(store: Store, chosen: Settings) -> Visit:
    return Visit(store, chosen, Issuer(claims=dict(COORDINATOR)))


# ------------------------------------------------------------------------------------------ the honest way


def test_a_person_signs_in_sees_their_name_and_signs_out_everywhere(either: Visit) -> None:
    first = either.ask("/")
    assert first.status_code == 401
    assert "Anna Berg" not in first.text
    assert 'href="/sign-in?to=/"' in first.text
    answer = either.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = either.ask("/")
    assert "Karin Sand" in page.text
    assert "Anna Berg" in page.text
    stolen = Visit(either.store, either.settings, either.issuer, dict(either.cookies))
    assert stolen.ask("/").status_code == 200
    out = either.send("/sign-out", {})
    assert (out.status_code, out.headers["location"]) == (303, "/sign-out")
    assert either.session == ""
    assert stolen.ask("/").status_code == 401, "a cookie that was stolen ends with the sign-in"
    way_out = either.ask("/sign-out").text
    assert f"{ISSUER}/logout?client_id={CLIENT}&amp;post_logout_redirect_uri" in way_out
    assert "id_token" not in way_out


def test_the_cookie_is_of_this_host_alone_and_no_script_reads_it(visit: Visit) -> None:
    [line] = [
        line for line in visit.sign_in().headers.get_list("set-cookie") if line.startswith("__Host-coprod=")
    ]
    flags = {part.strip() for part in line.split(";")[1:]}
    assert flags == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


def test_without_tls_the_cookie_has_a_name_that_browsers_take(store: Store) -> None:
    chosen = settings()
    site = chosen.site.model_copy(update={"base_url": "http://127.0.0.1:8000/fhir"})
    visit = Visit(store, chosen.model_copy(update={"site": site}), host="http://127.0.0.1:8000")
    answer = visit.ask("/sign-in")
    assert "coprod-in" in visit.cookies
    assert "Secure" not in answer.headers["set-cookie"]
    other = Visit(store, visit.settings, host="http://localhost:8000").ask("/sign-in?to=/people")
    assert other.headers["location"] == "http://127.0.0.1:8000/sign-in?to=/people"


def test_the_provider_is_asked_with_pkce_state_nonce_and_our_own_address(visit: Visit) -> None:
    way_in = visit.ask("/sign-in", host="evil.example").headers["location"]
    asked = parse_qs(urlsplit(way_in).query)
    assert way_in.startswith(f"{ISSUER}/auth?")
    assert asked["redirect_uri"] == [f"{HOME}/sign-in/answer"]
    assert asked["code_challenge_method"] == ["S256"]
    assert len({asked[name][0] for name in ("state", "nonce", "code_challenge")}) == 3
    assert min(len(asked[name][0]) for name in ("state", "nonce", "code_challenge")) == 43
    again = parse_qs(urlsplit(visit.ask("/sign-in").headers["location"]).query)
    assert asked["state"] != again["state"]
    assert asked["nonce"] != again["nonce"]


def test_the_store_holds_no_token_and_no_cookie(visit: Visit) -> None:
    visit.sign_in()
    with visit.store.connect() as connection:
        [row] = connection.exec_driver_sql("SELECT * FROM session").all()
    held = repr(tuple(row))
    assert visit.session not in held
    assert "eyJ" not in held


def test_a_secret_is_sent_where_the_settings_name_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPROD_TEST_SECRET", "quiet please")
    issuer = Issuer(about={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    visit = Visit(store, settings(secret_env="COPROD_TEST_SECRET"), issuer)
    visit.sign_in()
    assert issuer.asked[0]["client_secret"] == "quiet please"
    monkeypatch.delenv("COPROD_TEST_SECRET")
    answer = visit.sign_in()
    assert answer.status_code == 500
    assert "COPROD_TEST_SECRET" in answer.text


# ------------------------------------------------------------------------------------------ who is it not


def forged(token: str, header: dict[str, Any], key: Any) -> str:
    """The claims of a token under another header."""
    payload = jws.extract_compact(token.encode()).payload
    if header["alg"] == "none":
        parts = [jsontext.encode(header), payload, b""]
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])


NOW = int(time.time())
LIES: dict[str, dict[str, Any]] = {
    "is of another provider": {"iss": "https://evil.example"},
    "is meant for another program": {"aud": "another"},
    "was given to another program": {"aud": [CLIENT, "another"]},
    "was given to another": {"azp": "another"},
    "has expired": {"exp": NOW - 3600},
    "has expired.": {"exp": None},
    "is of the future": {"iat": NOW + 3600},
    "is of the future.": {"nbf": NOW + 3600},
    "belongs to another sign-in": {"nonce": "another"},
    "belongs to another": {"nonce": None},
    "names nobody": {"sub": ""},
    "names nobody.": {"sub": 7},
}


@pytest.mark.parametrize("words", LIES)
def test_an_id_token_that_is_not_for_us_or_not_now_opens_nothing(visit: Visit, words: str) -> None:
    visit.issuer.claims |= LIES[words]
    answer = visit.sign_in()
    assert answer.status_code == 401
    assert words.rstrip(".") in answer.text
    assert visit.session == ""
    visit.issuer.claims = dict(COORDINATOR)
    assert visit.sign_in().status_code == 303, "the honest one"


@pytest.mark.parametrize("how", ["none", "HS256", "other key", "other alg", "crit", "altered", "no token"])
def test_an_id_token_that_no_key_of_the_provider_signed_opens_nothing(visit: Visit, how: str) -> None:
    code, state = visit.begin()
    token = visit.issuer.token(visit.issuer.nonces[code])
    public = visit.issuer.key.as_pem(private=False)
    head, body, mark = token.split(".")
    visit.issuer.answer["id_token"] = {
        "none": forged(token, {"alg": "none", "kid": "k1"}, None),
        "HS256": forged(token, {"alg": "HS256", "kid": "k1"}, OctKey.import_key(public.hex())),
        "other key": forged(token, {"alg": "ES256", "kid": "k1"}, ECKey.generate_key("P-256")),
        "other alg": forged(token, {"alg": "ES384", "kid": "k1"}, ECKey.generate_key("P-384")),
        "crit": f"{head}x.{body}.{mark}",
        "altered": f"{head}.{body[:-2]}AA.{mark}",
        "no token": "abc",
    }[how]
    answer = visit.ask(f"/sign-in/answer?code={code}&state={state}")
    assert answer.status_code == 401
    assert visit.session == ""
    del visit.issuer.answer["id_token"]
    assert visit.sign_in().status_code == 303


def test_a_key_for_encryption_checks_nothing(visit: Visit) -> None:
    visit.issuer.use = "enc"
    assert visit.sign_in().status_code == 502
    assert visit.session == ""


def test_a_new_key_of_the_provider_is_fetched(visit: Visit) -> None:
    visit.sign_in()
    visit.issuer.key = ECKey.generate_key("P-256", {"kid": "k2", "use": "sig", "alg": "ES256"})
    visit.issuer.header["kid"] = "k2"
    assert visit.sign_in().status_code == 303


def test_an_access_token_that_is_not_the_one_of_the_id_token_is_noticed(visit: Visit) -> None:
    visit.issuer.claims["at_hash"] = "77QmUPtjPfzWtF2AnpK9RQ"
    visit.issuer.answer["access_token"] = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert visit.sign_in().status_code == 303, "the example of OpenID Connect Core, A.3"
    visit.issuer.answer["access_token"] = "another"
    assert visit.sign_in().status_code == 401


# ------------------------------------------------------------------------------------------ whose answer


def test_the_answer_to_another_browser_opens_nothing(visit: Visit) -> None:
    """Login CSRF: somebody is to be signed in as the attacker, whose code the answer brings.

    So it was in https://github.com/Leantime/leantime/issues/3535, where no state was checked, and in
    https://github.com/Flowfin/jellyfin-plugin-sso/issues/326, where any browser could bring it.
    """
    attacker = Visit(visit.store, visit.settings, visit.issuer)
    code, state = attacker.begin()
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401
    visit.begin()
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401
    assert visit.session == ""
    assert visit.issuer.asked == [], "the code was not even shown to the provider"
    attacker.begin()
    assert attacker.sign_in().status_code == 303


def test_a_code_and_its_state_work_once(visit: Visit) -> None:
    code, state = visit.begin()
    kept = dict(visit.cookies)
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 303
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401
    thief = Visit(visit.store, visit.settings, visit.issuer, kept)
    assert thief.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401, "the provider refuses"
    assert thief.session == ""


def test_the_code_of_one_sign_in_does_not_fit_into_another(visit: Visit) -> None:
    """Code injection: PKCE binds the code to the browser that began, and the nonce the id token."""
    victim = Visit(visit.store, visit.settings, visit.issuer)
    code, _ = victim.begin()
    _, state = visit.begin()
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401
    assert visit.session == ""


@pytest.mark.parametrize("announced", [True, False])
def test_the_answer_of_another_provider_is_refused(visit: Visit, announced: bool) -> None:
    """Mix-up (RFC 9207): the code of one provider is not shown to another."""
    visit.issuer.about["authorization_response_iss_parameter_supported"] = announced
    code, state = visit.begin()
    answer = visit.ask(f"/sign-in/answer?code={code}&state={state}&iss=https://evil.example")
    assert answer.status_code == 401
    assert visit.issuer.asked == []
    code, state = visit.begin()
    plain = visit.ask(f"/sign-in/answer?code={code}&state={state}")
    assert plain.status_code == (401 if announced else 303)
    code, state = visit.begin()
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}&iss={ISSUER}").status_code == 303


def test_a_sign_in_that_was_begun_too_long_ago_is_over(visit: Visit) -> None:
    code, state = visit.begin()
    content = jsontext.decode(base64.urlsafe_b64decode(visit.cookies["__Host-coprod-in"] + "=="))
    content[-1] -= 601
    visit.cookies["__Host-coprod-in"] = (
        base64.urlsafe_b64encode(jsontext.encode(content)).decode().rstrip("=")
    )
    assert visit.ask(f"/sign-in/answer?code={code}&state={state}").status_code == 401


@pytest.mark.parametrize(
    "cookie", ["", "x", "W10", "bnVsbA", "WzEsMiwzLDQsNSw2XQ", "WyJhIiwiYiIsImMiLCIvIixmYWxzZSwiZCJd"]
)
def test_a_cookie_of_no_sign_in_begins_none(visit: Visit, cookie: str) -> None:
    visit.cookies["__Host-coprod-in"] = cookie
    assert visit.ask("/sign-in/answer?code=a&state=a").status_code == 401


@pytest.mark.parametrize(
    "error", ["access_denied", "server_error", "invalid_scope", "<script>alert(1)</script>"]
)
def test_a_refusal_of_the_provider_is_said_in_our_own_words(visit: Visit, error: str) -> None:
    _, state = visit.begin()
    answer = visit.ask(f"/sign-in/answer?error={error}&error_description=Karin&state={state}")
    assert answer.status_code == 401
    assert "Karin" not in answer.text
    assert "<script>" not in answer.text


# ------------------------------------------------------------------------------------------ the session


def test_a_cookie_that_was_there_before_is_nobodys_afterwards(visit: Visit) -> None:
    """Session fixation: the attacker sets a cookie that they know, and waits."""
    fixed = "A" * 43
    visit.cookies["__Host-coprod"] = fixed
    assert visit.ask("/").status_code == 401
    visit.sign_in()
    assert visit.session != fixed
    assert Visit(visit.store, visit.settings, cookies={"__Host-coprod": fixed}).ask("/").status_code == 401
    assert visit.ask("/").status_code == 200


def test_each_sign_in_has_an_id_of_its_own_and_ends_the_one_before_in_this_browser(either: Visit) -> None:
    either.sign_in()
    before = dict(either.cookies)
    elsewhere = Visit(either.store, either.settings, either.issuer)
    elsewhere.sign_in()
    either.sign_in()
    assert either.session != before["__Host-coprod"]
    assert Visit(either.store, either.settings, cookies=before).ask("/").status_code == 401
    assert elsewhere.ask("/").status_code == 200, "another browser of theirs goes on"


def test_the_hash_from_the_store_is_no_cookie(visit: Visit) -> None:
    visit.sign_in()
    hash = sessions.hash_of(visit.session)
    for cookie in (hash, hash[:43], "", "A" * 43, f"{visit.session}A", visit.session[:-1]):
        thief = Visit(visit.store, visit.settings, cookies={"__Host-coprod": cookie})
        assert thief.ask("/").status_code == 401


def test_a_row_that_was_put_into_the_store_or_altered_signs_nobody_in(either: Visit) -> None:
    either.sign_in()
    assert either.ask("/").status_code == 200
    alter = 'UPDATE session SET claimed = \'[["coordinator"],["*"],""]\''
    either.store.write(lambda t: t.session.run(alter))
    assert either.ask("/").status_code == 401


def later(monkeypatch: pytest.MonkeyPatch, visit: Visit, **by: float) -> None:
    """Let the sign-in be as old as if so much time had passed since the last page."""
    milliseconds = round(timedelta(**by).total_seconds() * 1000)
    with visit.store.connect() as connection:
        session = sessions.find(connection, visit.settings.access.sign_in, visit.session, datetime.now(UTC))
    assert session is not None
    used, ends = (round(at.timestamp() * 1000) - milliseconds for at in (session.used, session.ends))
    visit.store.write(lambda t: t.session.run("UPDATE session SET used = ?, ends = ?", (used, ends)))


def test_a_sign_in_ends_after_half_an_hour_without_a_page(
    either: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.sign_in()
    later(monkeypatch, either, minutes=29)
    assert either.ask("/").status_code == 200
    later(monkeypatch, either, minutes=29)
    assert either.ask("/").status_code == 200, "the page before counted"
    later(monkeypatch, either, minutes=31)
    assert either.ask("/").status_code == 401


def test_a_sign_in_ends_after_its_hours_however_busy_it_is(store: Store, chosen: Settings) -> None:
    sign_in = chosen.access.sign_in
    assert sign_in is not None
    begun = datetime.now(UTC)
    id = sessions.begin(store, sign_in, sessions.Person(f"{ISSUER}|s", "K"), begun)
    now = begun
    for _ in range(28):
        now += timedelta(minutes=21)
        with store.connect() as connection:
            found = sessions.find(connection, sign_in, id, now)
        assert found is not None, now - begun
        sessions.touch(store, sign_in, found, now)
        store.write(lambda t: None)
    with store.connect() as connection:
        assert sessions.find(connection, sign_in, id, begun + timedelta(hours=10)) is None
    shorter = sign_in.model_copy(update={"hours": 5})
    with store.connect() as connection:
        assert sessions.find(connection, shorter, id, now) is None, "a shorter setting holds at once"


def test_what_has_ended_is_removed(store: Store, chosen: Settings) -> None:
    sign_in = chosen.access.sign_in
    assert sign_in is not None
    old = datetime.now(UTC) - timedelta(hours=1)
    for _ in range(3):
        sessions.begin(store, sign_in, sessions.Person(f"{ISSUER}|s", "K"), old)
    sessions.begin(store, sign_in, sessions.Person(f"{ISSUER}|s", "K"), datetime.now(UTC))
    with store.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM session").scalar() == 1


def test_a_sign_in_of_another_provider_ends_with_the_settings(visit: Visit) -> None:
    visit.sign_in()
    visit.settings = settings(issuer="https://login.example/other")
    assert visit.ask("/").status_code == 401


# ------------------------------------------------------------------------------------------ forms


FORMS: list[tuple[str, dict[str, str]]] = [
    (f"{LATE}/acknowledge", {"note": "mine"}),
    (f"{LATE}/snooze", {"until": "2099-01-01"}),
    (f"{LATE}/letter", {"about": "", "language": "en"}),
    ("/people", {"pair": "x", "word": "same"}),
    ("/sign-out", {}),
    ("/acting", {"way": "coordinator"}),
]


@pytest.mark.parametrize(("path", "form"), FORMS)
def test_a_form_needs_the_token_of_this_sign_in(visit: Visit, path: str, form: dict[str, str]) -> None:
    visit.sign_in()
    other = Visit(visit.store, visit.settings, visit.issuer)
    other.sign_in()
    head = visit.store.head()
    for wrong in ({}, {"token": ""}, {"token": "0" * 64}, {"token": other.token("/")}, {"token": "é"}):
        answer = visit.ask(path, {**form, **wrong, "x": "x"})
        assert answer.status_code == 403, wrong
        assert "not of your present sign-in" in answer.text
    assert visit.store.head() == head
    assert visit.ask("/").status_code == 200, "and nobody was signed out"


@pytest.mark.parametrize(("path", "form"), FORMS)
@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_form_of_another_site_does_nothing_even_with_the_token(
    visit: Visit, path: str, form: dict[str, str], headers: dict[str, str]
) -> None:
    visit.sign_in()
    head = visit.store.head()
    assert visit.send(path, form, **headers).status_code == 403
    assert visit.store.head() == head
    assert visit.ask("/").status_code == 200


def test_no_form_of_ours_works_by_get_or_in_another_shape(visit: Visit) -> None:
    visit.sign_in()
    for path, _ in FORMS[:2]:
        assert visit.ask(path).status_code == 405
    answer = visit.ask(f"{LATE}/acknowledge", {"note": "x"}, **{"content-type": "text/plain"})
    assert answer.status_code in (400, 403)
    assert visit.ask("/sign-out").status_code == 200
    assert visit.ask("/").status_code == 200, "a link signs nobody out"


def test_no_other_site_may_frame_any_page(visit: Visit) -> None:
    visit_pages = ["/", "/sign-in/answer", "/sign-out", "/signed-out", LATE, "/people", "/nothing"]
    before = [visit.ask(path) for path in visit_pages[:-1]]
    visit.sign_in()
    for answer in (*before, *(visit.ask(path) for path in visit_pages[:-1]), visit.ask("/sign-in")):
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert answer.headers["cache-control"] == "no-store"


# ------------------------------------------------------------------------------------------ where it leads


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
    "evil.example",
    " //evil.example",
    "/sign-in?to=/",
    "/sign-out",
    "/é",
    "/" + "a" * 1001,
    '/"><script>',
    "/\r\nset-cookie: a=b",
    "",
]


@pytest.mark.parametrize("to", ELSEWHERE)
def test_nobody_is_led_elsewhere_after_signing_in(visit: Visit, to: str) -> None:
    answer = visit.sign_in(quote(to, safe=""))
    location = answer.headers["location"]
    assert urlsplit(location).netloc == ""
    assert location.startswith("/")
    assert "evil.example" not in location or location.startswith("/%09/")
    assert "set-cookie" not in location
    assert visit.ask(location if location.startswith("/%") else "/").status_code in (200, 404)


def test_the_page_that_was_asked_for_comes_after_signing_in(visit: Visit) -> None:
    page = visit.ask(f"{LATE}/letter?about=unacknowledged&language=sv")
    assert page.status_code == 401
    link = page.text.partition('href="/sign-in?to=')[2].partition('"')[0]
    answer = visit.sign_in(link)
    assert answer.headers["location"] == f"{LATE}/letter?about=unacknowledged&language=sv"
    visit.begin()
    code, state = visit.begin("/people")
    answer = visit.ask(f"/sign-in/answer?code={code}&state={state}&to=https://evil.example&iss={ISSUER}")
    assert answer.headers["location"] == "/people"


def test_a_site_may_lead_straight_to_its_provider(store: Store) -> None:
    visit = Visit(store, settings(straight=True))
    assert visit.ask("/people?pair=x").headers["location"] == "/sign-in?to=/people%3Fpair%3Dx"
    assert visit.ask("/people", {"word": "same"}).status_code == 401, "but no form"


# ------------------------------------------------------------------------------------------ proof anew


def test_a_letter_goes_out_only_soon_after_signing_in(either: Visit) -> None:
    either.issuer.claims["auth_time"] = int(time.time()) - 600
    either.sign_in()
    page = either.ask(f"{LATE}/letter?about=unacknowledged&language=sv").text
    assert "you sign in again first" in page
    form = {"about": "unacknowledged", "language": "sv"}
    refused = either.send(f"{LATE}/letter", form)
    assert refused.status_code == 403
    link = refused.text.partition('href="/sign-in?to=')[2].partition('"')[0]
    assert link.endswith("&amp;again=yes")
    way_in = either.ask(f"/sign-in?to={link.replace('&amp;', '&')}").headers["location"]
    asked = parse_qs(urlsplit(way_in).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["300"])
    code, state = either.issuer.code(way_in)
    stale = either.ask(f"/sign-in/answer?code={code}&state={state}")
    assert stale.status_code == 401, "the provider did not ask the person anew"
    assert "not of a sign-in just now" in stale.text
    either.issuer.claims["auth_time"] = int(time.time())
    back = either.sign_in(link.partition("&amp;")[0], "&again=yes")
    assert back.headers["location"] == f"{LATE}/letter?about=unacknowledged&language=sv"
    assert "you sign in again first" not in either.ask(back.headers["location"]).text
    assert either.send(f"{LATE}/letter", form).status_code == 303
    [letter] = [
        one for one in Hospital(either.store).all("Communication") if one.get("status") == "completed"
    ]
    assert letter["note"][0]["authorString"] == "Karin Sand"
    either.issuer.claims["auth_time"] = None
    either.sign_in()
    assert either.send(f"{LATE}/letter", {"take_back": letter["id"]}).status_code == 403


def test_the_way_of_proving_oneself_can_be_asked_for(store: Store) -> None:
    visit = Visit(store, settings(recent_acr="high"), Issuer(claims=dict(COORDINATOR)))
    visit.sign_in()
    assert visit.send(f"{LATE}/letter", {"about": "", "language": "en"}).status_code == 403
    way_in = visit.ask("/sign-in?again=yes").headers["location"]
    assert parse_qs(urlsplit(way_in).query)["acr_values"] == ["high"]
    assert visit.sign_in(more="&again=yes").status_code == 401
    visit.issuer.claims["acr"] = "high"
    assert visit.sign_in(more="&again=yes").status_code == 303
    assert visit.send(f"{LATE}/letter", {"about": "", "language": "en"}).status_code == 303


def test_who_did_something_is_who_is_signed_in_whatever_the_form_says(visit: Visit) -> None:
    visit.sign_in()
    page = visit.ask(LATE).text
    assert 'name="by"' not in page
    assert visit.send(f"{LATE}/acknowledge", {"by": "Somebody Else", "note": "x"}).status_code == 303
    [task] = Hospital(visit.store).followups("accepted")
    assert task["note"][-1]["authorString"] == "Karin Sand"


def test_what_was_typed_is_shown_once_more_if_the_sign_in_has_ended(visit: Visit) -> None:
    answer = visit.ask(f"{LATE}/acknowledge", {"note": "I call <them> on Monday"})
    assert answer.status_code == 401
    assert "I call &lt;them&gt; on Monday" in answer.text
    assert f'href="/sign-in?to={LATE}"' in answer.text
    crossed = visit.ask(f"{LATE}/acknowledge", {"note": "x"}, origin="https://evil.example")
    assert crossed.status_code == 403


# ------------------------------------------------------------------------------------------ the provider


def test_a_provider_that_cannot_be_trusted_or_asked_signs_nobody_in(visit: Visit) -> None:
    for about in (
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://login.example/auth"},
        {"token_endpoint": "javascript:x"},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://a@login.example/"},
        {"code_challenge_methods_supported": ["plain"]},
        {"x": "y" * 600_000},
    ):
        visit.issuer.about = about
        answer = visit.ask("/sign-in")
        assert answer.status_code == 502, about
    visit.issuer.about = {}
    assert visit.ask("/sign-in").status_code == 303


def test_nobody_becomes_another_by_the_same_name_or_address(visit: Visit) -> None:
    """As in https://github.com/wavelens/gradient/issues/38, which merged accounts by their e-mail address."""
    visit.issuer.claims = {"email": "karin@hospital.example", "preferred_username": "karin"}
    name = grants.full_name(visit.settings, "s-1")
    given = [(name, "reader", "Organization/ortho")]
    grants.grant(visit.store, visit.settings, given, None, datetime.now(UTC))
    visit.sign_in()
    assert visit.ask("/").status_code == 200
    visit.issuer.claims["sub"] = "s-2"
    visit.sign_in()
    assert visit.ask("/").status_code == 403


def test_people_are_revoked_at_once(either: Visit) -> None:
    either.issuer.claims = {}
    either.sign_in()
    page = either.ask("/")
    assert page.status_code == 403
    assert f"{ISSUER}|s-1" in page.text
    assert "Anna Berg" not in page.text
    now = datetime.now(UTC)
    name = grants.full_name(either.settings, "s-1")
    grants.grant(either.store, either.settings, [(name, "reader", "Organization/ortho")], None, now)
    assert "Anna Berg" in either.ask("/").text
    assert grants.revoke(either.store, name) == (1, 1)
    assert either.ask("/").status_code == 401
