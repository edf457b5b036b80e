"""The keys by which we sign in: in which forms they are read, what is refused, and how they are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_coprod.errors import ConfigError
from fhir_coprod.sync.ehr import keys
from tests.sync.ehr.accounts import ES384, OTHER, RS384

WHERE = "ehr ward: the key file a.pem"
PKCS8 = form.PrivateFormat.PKCS8
TRADITIONAL = form.PrivateFormat.TraditionalOpenSSL
OPEN = form.NoEncryption()
CLOSED = form.BestAvailableEncryption(b"hunter2")
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"


def pem(key: Any, kind: form.PrivateFormat = PKCS8, closed: form.KeySerializationEncryption = OPEN) -> str:
    return str(key.private_bytes(form.Encoding.PEM, kind, closed).decode())


def jwk(key: keys.Key, **more: Any) -> str:
    return json.dumps({**key.as_dict(private=True), **more})


RSA_RAW: Any = RS384.raw_value
EC_RAW: Any = ES384.raw_value


def named(value: object) -> str:
    """Names of tests are the same in every process, and keys are not."""
    return value if isinstance(value, str) and value.replace(" ", "").isalnum() else "text"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (pem(RSA_RAW), [RS384]),
        (pem(RSA_RAW, TRADITIONAL), [RS384]),
        (pem(EC_RAW), [ES384]),
        (pem(EC_RAW, TRADITIONAL), [ES384]),
        (EC_PARAMETERS + pem(EC_RAW, TRADITIONAL), [ES384]),
        ("made by openssl\r\n" + pem(EC_RAW).replace("\n", "\r\n"), [ES384]),
        (pem(EC_RAW) + pem(RSA_RAW), [ES384, RS384]),
        (jwk(RS384), [RS384]),
        ("\n " + jwk(ES384), [ES384]),
        (json.dumps({"keys": [json.loads(jwk(OTHER)), json.loads(jwk(ES384))]}), [OTHER, ES384]),
    ],
    ids=named,
)
def test_private_keys_are_read_in_every_form_and_in_their_order(text: str, wanted: list[keys.Key]) -> None:
    found = keys.read(text, WHERE)
    assert [key.thumbprint() for key in found] == [key.thumbprint() for key in wanted]
    for key in found:
        chosen = keys.algorithm(key)
        assert jwt.decode(
            jwt.encode({"alg": chosen}, {"iss": "us"}, key, algorithms=[chosen]), key, algorithms=[chosen]
        )


@pytest.mark.parametrize(
    ("key", "chosen"),
    [
        (RS384, "RS384"),
        (ES384, "ES384"),
        (ECKey.generate_key("P-256"), "ES256"),
        (RSAKey.import_key(json.loads(jwk(RS384, alg="RS256"))), "RS256"),
    ],
)
def test_a_key_signs_as_smart_asks_unless_it_says_otherwise(key: keys.Key, chosen: str) -> None:
    assert keys.algorithm(key) == chosen


SMALL: Any = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no private key"),
        ("hunter2", "holds no private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "holds no private key"),
        (pem(EC_RAW).replace("-----END PRIVATE KEY-----", ""), "holds no private key"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----", "cannot be read"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "cannot be read"),
        (pem(EC_RAW, closed=CLOSED), "protected by a password"),
        (pem(RSA_RAW, TRADITIONAL, CLOSED), "protected by a password"),
        (pem(SMALL), "less than 2048 bits"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "for another use"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "for another use"),
        (ES384.as_pem(private=False).decode(), "holds a public key"),
        (json.dumps(RS384.as_dict(private=False)), "holds a public key"),
        (jwk(RS384, use="enc"), "for another use"),
        (jwk(RS384, key_ops=["decrypt"]), "for another use"),
        (jwk(RS384, alg="RSA-OAEP"), "for another use"),
        (jwk(RS384, alg="ES384"), "for another use"),
        (jwk(ES384, alg="RS384"), "for another use"),
        (jwk(ES384, alg="ES256"), "for another use"),
        (jwk(ES384, d="hunter2"), "cannot be read"),
        (jwk(ES384, crv="P-0"), "cannot be read"),
        (jwk(ES384, kty="hunter2"), "cannot be read"),
        (jwk(RS384, n=7), "cannot be read"),
        (json.dumps({"kty": "oct", "k": "hunter2"}), "cannot be read"),
        ('{"keys": ["hunter2"]}', "neither a JWK nor a JWK Set"),
        ('{"keys": 7}', "neither a JWK nor a JWK Set"),
        ('{"keys": []}', "holds no private key"),
        ('{"hunter2', "neither PEM nor JSON"),
        ('{"a":' * 100_000, "neither PEM nor JSON"),
    ],
    ids=named,
)
def test_what_cannot_sign_is_refused_in_one_sentence_that_names_the_place_and_nothing_of_the_key(
    text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        keys.read(text, WHERE)
    told = caught.value.message
    assert told.startswith(WHERE)
    assert said in told
    assert "hunter2" not in told
    words = [word for word in text.split() if len(word) > 20] + [str(RS384.as_dict(private=True).get("d"))]
    assert not any(word in told for word in words)


@pytest.mark.parametrize("text", [pem(EC_RAW), jwk(ES384)], ids=["PEM", "JWK"])
def test_a_key_shows_nothing_of_itself_in_a_traceback(text: str) -> None:
    (key,) = keys.read(text, WHERE)
    secret = str(ES384.as_dict(private=True)["d"])
    assert secret not in repr(key)
    assert secret not in str(key)


# --- what is registered ---------------------------------------------------------------------------


def test_the_jwk_set_holds_the_public_halves_only() -> None:
    private = {"d", "p", "q", "dp", "dq", "qi", "oth"}
    for key in keys.jwk_set([RS384, ES384])["keys"]:
        assert private.isdisjoint(key)
        assert key["use"] == "sig"
        assert {"kid", "alg", "kty"} <= key.keys()


def test_the_key_id_is_the_thumbprint_unless_the_key_brings_its_own() -> None:
    own = keys.read(jwk(ES384, kid="ward-2026"), WHERE)
    assert [key["kid"] for key in keys.jwk_set(own)["keys"]] == ["ward-2026"]
    assert [key["kid"] for key in keys.jwk_set([ES384])["keys"]] == [ES384.thumbprint()]


@pytest.mark.parametrize("as_jwks", [False, True])
def test_keys_are_kept_for_this_user_only_and_read_again_in_their_order(
    tmp_path: Path, as_jwks: bool
) -> None:
    file = tmp_path / "keys" / "ward.pem"
    keys.write(file, [ES384, RS384], as_jwks=as_jwks)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    found = keys.read(file.read_text(), WHERE)
    assert [keys.key_id(key) for key in found] == [ES384.thumbprint(), RS384.thumbprint()]
    assert [path.name for path in file.parent.iterdir()] == ["ward.pem"]


def test_a_file_that_others_may_read_is_closed_when_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "ward.pem"
    file.write_text("old")
    file.chmod(0o644)
    (tmp_path / "ward.pem.new").write_text("left by a kill")
    (tmp_path / "ward.pem.new").chmod(0o644)
    keys.write(file, [ES384])
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_keys_that_an_administrator_replaces_still_belong_to_the_account_that_signs_in(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ward.pem"
    keys.write(file, [ES384])
    os.chown(file, 12345, 12346)
    keys.write(file, [OTHER])
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (12345, 12346, 0o600)


def test_a_key_set_keeps_its_own_key_ids_when_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys.write(file, keys.read(jwk(ES384, kid="ward-2026"), WHERE), as_jwks=True)
    assert [keys.key_id(key) for key in keys.read(file.read_text(), WHERE)] == ["ward-2026"]


def test_after_a_kill_before_the_new_keys_are_in_place_the_old_ones_are_there(tmp_path: Path) -> None:
    file = tmp_path / "ward.pem"
    keys.write(file, [ES384])
    program = (
        "import os, pathlib, sys\n"
        "from fhir_coprod.sync.ehr import keys\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "keys.write(pathlib.Path(sys.argv[1]), [keys.new('ES384')])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(file)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [key.thumbprint() for key in keys.read(file.read_text(), WHERE)] == [ES384.thumbprint()]
    keys.write(file, [OTHER])
    assert [key.thumbprint() for key in keys.read(file.read_text(), WHERE)] == [OTHER.thumbprint()]
