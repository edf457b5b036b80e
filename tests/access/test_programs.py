"""Programs sign in by SMART Backend Services and call with tokens of five minutes.

Each attack is beside the honest request that it is made from. Where it was found in other libraries is told
with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import stat
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_coprod.access import clients
from fhir_coprod.access.clients import CHANGED
from fhir_coprod.errors import BadRequest, Conflict
from tests.access.programs import (
    BASE,
    EC,
    RSA,
    TOKEN_URL,
    TYPE,
    Program,
    jwk_set,
    part,
    register,
    signed,
)
from tests.api.conftest import FHIR, Api, outcome, patient

Forged = Callable[[Program], str]


# ------------------------------------------------------------------------------------- the honest way


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES384", "RS384"])
def test_a_program_gets_a_token_and_reads_with_it(guarded_api: Api, key: RSAKey | ECKey) -> None:
    program = Program(guarded_api, register(guarded_api.store, "system/*.cruds", key=key), key)
    answer = program.asks(scope="system/Patient.cruds")
    said = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/Patient.cruds")
    headers = {**FHIR, "authorization": f"Bearer {said['access_token']}"}
    made = guarded_api.request("POST", "Patient", json=patient(), headers=headers)
    assert made.status_code == 201, made.text
    assert program.get(f"Patient/{made.json()['id']}", said["access_token"]).status_code == 200


def test_nobody_is_asked_until_a_program_is_registered_and_everybody_from_then_on(guarded_api: Api) -> None:
    assert guarded_api.get("Patient").status_code == 200
    name = register(guarded_api.store)
    forget_the_look(guarded_api)
    assert guarded_api.get("Patient").status_code == 401
    clients.remove(guarded_api.store, name)
    forget_the_look(guarded_api)
    assert guarded_api.get("Patient").status_code == 401, "the last removal opens nothing"


def forget_the_look(api: Api) -> None:
    """As if a second had gone by."""
    api.gate.look_again()


def test_a_removed_program_can_do_nothing_a_second_later(guarded_api: Api, program: Program) -> None:
    token = program.token()
    assert program.get("Patient", token).status_code == 200
    clients.remove(guarded_api.store, program.name)
    forget_the_look(guarded_api)
    assert program.get("Patient", token).status_code == 401
    assert program.asks().json() == {"error": "invalid_client"}
    register(guarded_api.store, "system/*.cruds", name=program.name)
    forget_the_look(guarded_api)
    assert program.get("Patient", token).status_code == 401, "it is another one of that name"
    assert program.get("Patient").status_code == 200


def test_the_private_key_is_in_a_file_for_its_owner_and_not_in_the_store(program: Program) -> None:
    program.token()
    file = program.api.gate.signer._file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = json.loads(file.read_text())["key"]["d"]
    with program.api.store.connect() as connection:
        rows = connection.exec_driver_sql("SELECT jwk FROM signing_key").scalars().all()
    assert len(rows) == 1
    assert secret not in rows[0]
    assert "d" not in json.loads(rows[0])


def test_machines_take_each_others_tokens_and_a_row_that_is_deleted_ends_a_key(
    program: Program, tmp_path: Any
) -> None:
    first = program.token()
    other = Api(
        program.api.store,
        program.api.settings.model_copy(
            update={
                "access": program.api.settings.access.model_copy(update={"key_file": tmp_path / "b" / "k"})
            }
        ),
    )
    try:
        there = Program(other, program.name)
        second = there.token()
        assert there.get("Patient", first).status_code == 200
        assert program.get("Patient", second).status_code == 200, "the new key is seen"
        kid = json.loads(base64.urlsafe_b64decode(second.split(".")[0] + "=="))["kid"]
        from fhir_coprod.store import guarded
        from fhir_coprod.store.schema.programs import signing_key

        def drop(transaction: Any) -> None:
            guarded.take_all(transaction.connection, signing_key, kid)
            clients.tell(transaction)

        program.api.store.write(drop)
        for api in (program.api, other):
            forget_the_look(api)
        assert program.get("Patient", second).status_code == 401
        assert there.get("Patient", there.token()).status_code == 200, "it has made another"
    finally:
        other.close()


def test_what_is_open_without_a_token(program: Program) -> None:
    api = program.api
    forget_the_look(api)
    for path in ("metadata", ".well-known/smart-configuration", "http://localhost/health"):
        assert api.get(path).status_code == 200, path
    said = api.get("http://localhost/.well-known/smart-configuration").json()
    assert said["token_endpoint"] == TOKEN_URL
    assert said["grant_types_supported"] == ["client_credentials"]
    security = api.get("metadata").json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    for path in (
        "",
        "Patient/1",
        "http://localhost/",
        "http://localhost/operations",
        "http://localhost/people",
    ):
        answer = api.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert outcome(answer)["code"] == "login"
    assert program.get("http://localhost/").status_code == 403, "pages are for people"
    assert api.get("http://localhost/metrics").status_code == 200
    assert api.get("http://localhost/metrics", x_forwarded_for="203.0.113.7").status_code == 401
    assert api.get("Patient/a/_history/1/x/y").status_code in (401, 404)


# ---------------------------------------------------------------------------------- forged assertions


def none(program: Program) -> str:
    """CVE-2015-9235 and many since: a word that nobody has signed."""
    return f"{part({**program.header, 'alg': 'none'})}.{part(program.claims)}."


def none_with_signature(program: Program) -> str:
    _, body, signature = program.assertion().split(".")
    return f"{part({**program.header, 'alg': 'None'})}.{body}.{signature}"


def hmac_with_public_key(program: Program) -> str:
    """CVE-2016-10555, CVE-2024-54150: the public key taken for a secret."""
    text = program.key.as_pem(private=False)
    head, body = part({**program.header, "alg": "HS384"}), part(program.claims)
    code = hmac.new(text, f"{head}.{body}".encode(), hashlib.sha384).digest()
    return f"{head}.{body}.{part(code)}"


def other_algorithm_of_the_key(program: Program) -> str:
    """ES256 by a P-384 key is no algorithm; ES512 and RS512 are not those of SMART."""
    return signed({**program.header, "alg": "RS512"}, program.claims, RSA)


def rsa_for_ec(program: Program) -> str:
    return signed({**program.header, "alg": "RS384"}, program.claims, RSA)


def own_key_in_header(program: Program) -> str:
    """CVE-2018-0114: the key comes with the word."""
    mine = ECKey.generate_key("P-384")
    header = {**program.header, "jwk": mine.as_dict(private=False)}
    return signed(header, program.claims, mine)


def own_place_of_keys(program: Program) -> str:
    mine = ECKey.generate_key("P-384")
    header = {**program.header, "kid": mine.thumbprint(), "jku": "https://attacker.example/jwks.json"}
    return signed(header, program.claims, mine)


def honest_key_and_other_place(program: Program) -> str:
    return program.assertion({"jku": "https://attacker.example/jwks.json"})


def certificate_in_header(program: Program) -> str:
    return program.assertion({"x5c": ["MIIB"]})


def critical_header(program: Program) -> str:
    """CVE-2025-59420: crit that nobody understands was passed over."""
    return program.assertion({"crit": ["exp"]})


def unencoded(program: Program) -> str:
    return program.assertion({"b64": False})


def kid_of_a_file(program: Program) -> str:
    return program.assertion({"kid": "../../../../dev/null"})


def kid_of_sql(program: Program) -> str:
    return program.assertion({"kid": "x' UNION SELECT 'k"})


def kid_of_another_kind(program: Program) -> str:
    return program.assertion({"kid": ["a"]})


def no_kid(program: Program) -> str:
    header = {name: value for name, value in program.header.items() if name != "kid"}
    return signed(header, program.claims, program.key)


def by_a_stranger(program: Program) -> str:
    return signed(program.header, program.claims, ECKey.generate_key("P-384"))


def empty_signature(program: Program) -> str:
    """CVE-2022-21449: r and s of zero."""
    head, body, _ = program.assertion().split(".")
    return f"{head}.{body}.{part(bytes(96))}"


def altered(program: Program) -> str:
    head, _, signature = program.assertion().split(".")
    return f"{head}.{part({**program.claims, 'exp': int(time.time()) + 299})}.{signature}"


def claim_twice(program: Program) -> str:
    claims = json.dumps(program.claims)[:-1] + ', "sub": "admin"}'
    return signed(program.header, claims.encode(), program.key)


def alg_twice(program: Program) -> str:
    header = json.dumps(program.header)[:-1] + ', "alg": "none"}'
    return signed(header.encode(), program.claims, program.key)


def deep(program: Program) -> str:
    claims = json.dumps(program.claims)[:-1] + ', "x": ' + "[" * 5000 + "]" * 5000 + "}"
    return signed(program.header, claims.encode(), program.key)


def giant(program: Program) -> str:
    return program.assertion(x="a" * 20_000)


def no_object(program: Program) -> str:
    return signed(program.header, b'["a"]', program.key)


def encrypted(program: Program) -> str:
    """CVE-2026-29000 and others: five parts, of which nobody has signed any."""
    return program.assertion() + ".a.b"


def with_line_end(program: Program) -> str:
    return program.assertion() + "\n"


def claims(**said: Any) -> Forged:
    return lambda program: program.assertion(**said)


FORGED: dict[str, Forged] = {
    **{
        made.__name__: made
        for made in (
            *(none, none_with_signature, hmac_with_public_key, other_algorithm_of_the_key, rsa_for_ec),
            *(own_key_in_header, own_place_of_keys, honest_key_and_other_place, certificate_in_header),
            *(critical_header, unencoded, kid_of_a_file, kid_of_sql, kid_of_another_kind, no_kid),
            *(by_a_stranger, empty_signature, altered, claim_twice, alg_twice, deep, giant, no_object),
            *(encrypted, with_line_end),
        )
    },
    "other audience": claims(aud="https://other.example/auth/token"),
    "our base": claims(aud=BASE),
    "audience with a slash": claims(aud=TOKEN_URL + "/"),
    # CVE-2025-27370: an assertion that was made for another server, and names us too.
    "several audiences": claims(aud=[TOKEN_URL, "https://other.example/auth/token"]),
    "audience of another kind": claims(aud={"a": TOKEN_URL}),
    "no audience": claims(aud=None),
    "expired": lambda program: program.assertion(exp=int(time.time()) - 60),
    "an hour long": lambda program: program.assertion(exp=int(time.time()) + 3600),
    "no end": claims(exp=None),
    "end as text": lambda program: program.assertion(exp=str(int(time.time()) + 200)),
    "end that is true": claims(exp=True),
    "end beyond all": claims(exp=1e300),
    "not yet": lambda program: program.assertion(nbf=int(time.time()) + 120),
    "issued tomorrow": lambda program: program.assertion(iat=int(time.time()) + 86_400),
    "no jti": claims(jti=None),
    "long jti": claims(jti="x" * 300),
    "jti of another kind": claims(jti=7),
    "other subject": claims(sub="admin"),
    "no subject": claims(sub=None),
    "unknown issuer": claims(iss="nobody", sub="nobody"),
    "access token for an assertion": lambda program: program.token(),
    "typ of an access token": lambda program: program.assertion({"typ": "at+jwt"}),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_assertions_get_no_token_and_no_word_why(
    program: Program, forged: Forged, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fhir_coprod.access"):
        sent = forged(program)
        answer = program.asks(sent)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})
    assert "no token: " in caplog.text
    assert sent.strip() not in caplog.text
    assert program.asks().status_code == 200, "the honest one"


def test_one_audience_in_a_list_is_taken(program: Program) -> None:
    assert program.asks(program.assertion(aud=[TOKEN_URL])).status_code == 200


def test_clocks_may_differ_by_seconds(program: Program) -> None:
    now = int(time.time())
    assert program.asks(program.assertion(iat=now + 5, nbf=now + 5, exp=now + 304)).status_code == 200
    assert program.asks(program.assertion(iat=now - 300, exp=now - 5)).status_code == 200


def test_an_assertion_is_taken_once_also_of_many_at_once(program: Program) -> None:
    sent = program.assertion()
    assert [program.asks(sent).status_code for _ in range(3)] == [200, 400, 400]
    again = program.assertion()
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": again,
        "scope": "system/*.rs",
    }
    answers = program.api.together(*[("POST", TOKEN_URL, {"data": fields})] * 12)
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 11


def test_an_assertion_stays_used_after_a_restart_and_is_forgotten_after_its_end(program: Program) -> None:
    sent = program.assertion()
    assert program.asks(sent).status_code == 200
    other = Api(program.api.store, program.api.settings)
    assert Program(other, program.name).asks(sent).status_code == 400
    other.close()
    store = program.api.store
    store.write(lambda t: t.session.run("UPDATE used_assertion SET until = 1"))
    program.token()
    with store.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM used_assertion").scalar()
    assert count == 1


# --------------------------------------------------------------------------------------- the request


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "unsupported_grant_type"),
        ({"client_assertion_type": "urn:x"}, "invalid_client"),
        ({"client_id": "admin"}, "invalid_client"),
        ({"scope": "system/Nonsense.rs"}, "invalid_scope"),
        ({"scope": "System/Patient.rs"}, "invalid_scope"),
        ({"scope": "user/Patient.rs"}, "invalid_scope"),
        ({"scope": "patient/*.rs"}, "invalid_scope"),
        ({"scope": "system/Patient.rs user/Patient.rs"}, "invalid_scope"),
        ({"scope": "system/Patient.sr"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "system/Patient.rs\u00a0system/*.cruds"}, "invalid_scope"),
    ],
)
def test_a_request_that_is_wrong_gets_the_error_of_oauth(
    program: Program, form: dict[str, str], error: str
) -> None:
    answer = program.asks(**form)
    assert answer.status_code == 400
    assert answer.json()["error"] == error


def test_a_request_is_a_form_with_each_field_once_and_nothing_in_the_url(program: Program) -> None:
    api, assertion = program.api, program.assertion()
    whole = f"grant_type=client_credentials&client_assertion_type={TYPE}&client_assertion={assertion}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for url, body, headers in (
        (f"{TOKEN_URL}?{whole}", "", form),
        (TOKEN_URL, f"{whole}&client_assertion={assertion}", form),
        (TOKEN_URL, f"{whole}&scope=system/*.rs&scope=system/*.cruds", form),
        (TOKEN_URL, json.dumps({"grant_type": "client_credentials"}), {"content-type": "application/json"}),
        (TOKEN_URL, "&".join(f"a{n}=1" for n in range(50)), form),
    ):
        answer = api.request("POST", url, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), url
    assert api.get(TOKEN_URL).status_code == 405
    assert api.request("POST", TOKEN_URL, content="a" * 60_000, headers=form).status_code == 413
    assert (
        api.request("POST", TOKEN_URL, content=f"{whole}&scope=system/*.rs", headers=form).status_code == 200
    )


@pytest.mark.parametrize(
    ("registered", "asked", "given"),
    [
        (["system/Patient.rs"], "system/Patient.cruds", "system/Patient.rs"),
        (["system/Patient.rs"], "system/*.cruds", "system/Patient.rs"),
        (["system/*.r"], "system/Task.rs", "system/Task.r"),
        (["system/Patient.rs", "system/Task.cruds"], "system/*.rs", "system/Patient.rs system/Task.rs"),
        (["system/Patient.rs"], "system/Patient.read", "system/Patient.rs"),
        (["system/Patient.rs"], "system/Task.rs", None),
        (["system/Patient.r"], "system/Patient.cud", None),
        (
            ["system/Observation.rs?category=laboratory"],
            "system/Observation.rs",
            "system/Observation.rs?category=laboratory",
        ),
        (
            ["system/Observation.rs?category=laboratory"],
            "system/Observation.rs?category=vital-signs",
            "system/Observation.rs?category=vital-signs&category=laboratory",
        ),
        (["system/Task.rs"], None, "system/Task.rs"),
    ],
)
def test_nobody_gets_more_than_is_registered(
    guarded_api: Api, registered: list[str], asked: str | None, given: str | None
) -> None:
    answer = Program(guarded_api, register(guarded_api.store, *registered)).asks(scope=asked)
    assert answer.json().get("scope") == given
    assert answer.json().get("error") == (None if given else "invalid_scope")


def test_failures_from_one_address_are_slowed_down(program: Program) -> None:
    answers = [program.asks("a.b.c") for _ in range(40)]
    assert answers[0].status_code == 400
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


# ------------------------------------------------------------------------------------- forged tokens


def changed_scope(program: Program, token: str) -> str:
    head, body, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{part({**said, 'scope': 'system/*.cruds'})}.{signature}"


def not_signed(program: Program, token: str) -> str:
    head, body, _ = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(head + "=="))
    return f"{part({**said, 'alg': 'none'})}.{body}."


def our_key(program: Program) -> ECKey:
    return ECKey.import_key(json.loads(program.api.gate.signer._file.read_text())["key"])


def by_our_key(**said: Any) -> Callable[[Program, str], str]:
    """What somebody could do who has our key and no right to it; each still fails by the claim."""

    def make(program: Program, token: str) -> str:
        head, body, _ = token.split(".")
        old = json.loads(base64.urlsafe_b64decode(body + "=="))
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
        header |= said.get("header", {})
        new = {n: v for n, v in {**old, **said}.items() if v is not None and n != "header"}
        return signed(header, new, our_key(program))

    return make


TOKENS: dict[str, Callable[[Program, str], str]] = {
    "changed scope": changed_scope,
    "not signed": not_signed,
    "an assertion": lambda program, token: program.assertion(),
    "by the client's own key": lambda program, token: signed(
        {"alg": "ES384", "typ": "at+jwt", "kid": EC.thumbprint()},
        json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")),
        EC,
    ),
    "by our key, expired": by_our_key(exp=int(time.time()) - 60),
    "by our key, without end": by_our_key(exp=None),
    "by our key, for a day": by_our_key(exp=int(time.time()) + 86_400),
    "by our key, for another base": by_our_key(aud="https://other.example/fhir"),
    "by our key, of another issuer": by_our_key(iss="https://other.example/fhir"),
    "by our key, mixed scopes": by_our_key(scope="system/*.rs patient/*.rs"),
    "by our key, another client": by_our_key(client_id="nobody"),
    "by our key, no access token": by_our_key(header={"typ": "JWT"}),
    "two tokens": lambda program, token: f"{token}, Bearer {token}",
    "nothing": lambda program, token: "",
    "giant": lambda program, token: "a" * 30_000,
}


@pytest.mark.parametrize("forged", TOKENS.values(), ids=TOKENS)
def test_forged_tokens_open_nothing(
    program: Program, forged: Callable[[Program, str], str], caplog: pytest.LogCaptureFixture
) -> None:
    token = program.token("system/Patient.rs")
    sent = forged(program, token)
    answer = program.api.get("Patient", authorization=f"Bearer {sent}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert outcome(answer)["code"] == "login"
    assert not sent or (sent not in answer.text and sent not in caplog.text)
    assert program.get("Patient", token).status_code == 200, "the honest one"


def test_a_token_is_only_taken_from_one_header(program: Program) -> None:
    token = program.token()
    api = program.api
    assert api.get(f"Patient?access_token={token}").status_code == 401
    twice = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert api.request("GET", "Patient", headers=twice).status_code == 401
    assert api.get("Patient", authorization=f"Basic {token}").status_code == 401
    assert api.get("Patient", authorization=token).status_code == 401
    assert api.get("Patient", cookie=f"access_token={token}").status_code == 401
    assert api.get("Patient", authorization=f"bearer {token}").status_code == 200


def test_a_token_does_not_get_into_what_is_answered_later(program: Program) -> None:
    token = program.token()
    answer = program.api.get("Patient", authorization=f"Bearer {token}", prefer="respond-async")
    assert answer.status_code == 202
    with program.api.store.connect() as connection:
        rows = connection.exec_driver_sql("SELECT request FROM async_request").scalars().all()
    assert rows
    assert all(token.encode() not in bytes(row) for row in rows)


def test_each_program_has_its_own_rate(guarded_api: Api) -> None:
    store = guarded_api.store
    jwks, now = jwk_set(EC), datetime.now(UTC)
    clients.add(store, "slow", ["system/*.rs"], jwks_url="", jwks=jwks, per_minute=12, now=now)
    slow, fast = Program(guarded_api, "slow"), Program(guarded_api, register(store))
    token, other = slow.token(), fast.token()
    answers = [slow.get("Patient", token) for _ in range(5)]
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert outcome(answers[-1])["code"] == "throttled"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert all(fast.get("Patient", other).status_code == 200 for _ in range(5))


# -------------------------------------------------------------------------------------------- keys


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    SHORT_RSA = jwk_set(RSAKey.generate_key(1024))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"keys": [OctKey.generate_key(256).as_dict()]}), "share"),
        (json.dumps({"keys": [EC.as_dict(private=True)]}), "private key"),
        (json.dumps({"keys": [RSA.as_dict(private=True)]}), "private key"),
        (
            json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}),
            "no key that can be used",
        ),
        (jwk_set(EC, alg="ES256"), "no key that can be used"),
        (jwk_set(RSA, alg="RS256"), "no key that can be used"),
        (jwk_set(EC, use="enc"), "no key that can be used"),
        (SHORT_RSA, "1024 bits"),
        (json.dumps({"keys": []}), "no key that can be used"),
        (json.dumps({"keys": "x"}), "no JWK Set"),
        ('{"keys": [], "keys": []}', "not one JSON object"),
        ("-----BEGIN PUBLIC KEY-----", "not one JSON object"),
        (json.dumps({"keys": [EC.as_dict(private=False)] * 60}), "more than 50"),
    ],
    ids=range(13),
)
def test_keys_that_cannot_be_trusted_are_refused_in_a_sentence(text: str, said: str) -> None:
    from fhir_coprod.access.public_keys import read_keys

    with pytest.raises(BadRequest, match=said):
        read_keys(text, "the file a.json")


def test_a_name_is_taken_once_and_only_scopes_of_system_are_given(guarded_api: Api) -> None:
    name = register(guarded_api.store)
    with pytest.raises(Conflict, match="already"):
        register(guarded_api.store, name=name)
    for scope in ("user/*.rs", "patient/*.rs", "system/Nope.rs", "system/*.sr", "openid"):
        with pytest.raises(BadRequest):
            register(guarded_api.store, scope)
    with pytest.raises(BadRequest, match="Name a client"):
        register(guarded_api.store, name="a|b")


def test_a_client_whose_row_somebody_altered_may_do_nothing(program: Program) -> None:
    store = program.api.store
    store.write(lambda t: t.session.run("UPDATE client SET scopes = 'system/*.cruds system/Task.rs'"))
    store.write(clients.tell)
    forget_the_look(program.api)
    assert program.asks().json() == {"error": "invalid_client"}
    assert store.setting(CHANGED)
