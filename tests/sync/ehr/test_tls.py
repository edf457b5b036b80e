"""Whom we trust to be the EHR, and by which certificate it knows us, against a server that speaks TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.accounts import SmartBackendAuth, TlsSettings
from fhir_coprod.errors import ConfigError, EhrError
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Politeness
from tests.sync.ehr.accounts import ES384
from tests.sync.ehr.certificates import Authority, secured
from tests.sync.server import Ehr, serving

PATIENT = {"resourceType": "Patient", "id": "p"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def asked(url: str, **more: Any) -> int | str:
    """The status of an answer, or the sentence that says why there is none."""

    async def ask() -> int | str:
        settings = EhrSettings(name="ward", url=url, **more)
        async with EhrClient(settings, politeness=Politeness(attempts=1)) as client:
            try:
                return (await client.get("Patient/p")).status
            except EhrError as error:
                return error.message

    return asyncio.run(ask())


def test_an_ehr_with_a_certificate_of_its_own_authority_is_trusted_if_the_settings_say_so(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    with secured(authority.signs("server"), answers=PATIENT) as server:
        assert "its certificate is not trusted" in str(asked(server.url))
        assert "its certificate is not trusted" in str(asked(server.url, tls=TlsSettings(ca_file=other.file)))
        assert asked(server.url, tls=TlsSettings(ca_file=authority.file)) == 200
        assert "its certificate is not trusted" in str(
            asked(
                server.url.replace("127.0.0.1", "localhost"),
                tls=TlsSettings(ca_file=authority.file),
            )
        ), "the name in it counts"


@pytest.mark.parametrize("in_one_file", [False, True])
def test_a_certificate_shows_who_we_are(authority: Authority, tmp_path: Path, in_one_file: bool) -> None:
    certificate, key = authority.signs("coprod")
    if in_one_file:
        certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    own = TlsSettings(
        ca_file=authority.file, certificate_file=certificate, key_file=None if in_one_file else key
    )
    with secured(authority.signs("server"), for_clients_of=authority.file, answers=PATIENT) as server:
        assert "tls.certificate_file" in str(asked(server.url, tls=TlsSettings(ca_file=authority.file)))
        assert server.clients == []
        assert asked(server.url, tls=own) == 200
        assert server.clients == ["coprod"]


def test_a_certificate_of_somebody_else_is_refused_by_the_server(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path, "other").signs("coprod")
    own = TlsSettings(ca_file=authority.file, certificate_file=certificate, key_file=key)
    with secured(authority.signs("server"), for_clients_of=authority.file, answers=PATIENT) as server:
        assert "tls.certificate_file" in str(asked(server.url, tls=own))


@pytest.mark.parametrize("case", ["missing", "no PEM", "of another key", "without a key", "with a password"])
def test_files_that_cannot_be_used_are_named_before_anything_is_asked(
    authority: Authority, tmp_path: Path, case: str
) -> None:
    certificate, key = authority.signs("coprod")
    if case == "missing":
        certificate.unlink()
    if case == "no PEM":
        certificate.write_text("hunter2")
    if case == "of another key":
        key = authority.signs("other")[1]
    if case == "with a password":
        certificate, key = authority.signs("closed", password="hunter2")
    given = TlsSettings(certificate_file=certificate, key_file=None if case == "without a key" else key)
    with pytest.raises(ConfigError, match=r"ehr ward: tls\.certificate_file: .* no password") as caught:
        asked("https://127.0.0.1:1", tls=given)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("content", [None, "hunter2"])
def test_a_list_of_authorities_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"ehr ward: tls\.ca_file: .*ca\.pem") as caught:
        asked("https://127.0.0.1:1", tls=TlsSettings(ca_file=file))
    assert "hunter2" not in caught.value.message


def test_a_token_endpoint_by_https_has_to_be_trusted_even_if_the_ehr_is_asked_by_http(
    authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    keys.write(file, [ES384])
    ehr = Ehr()
    with secured(authority.signs("login"), answers={"access_token": "a"}) as login, serving(ehr):
        auth = SmartBackendAuth(type="smart-backend", client_id="us", key_file=file, token_url=login.url)
        assert "its certificate is not trusted" in str(asked(ehr.url, auth=auth))
        assert login.forms == []
        assert asked(ehr.url, auth=auth, tls=TlsSettings(ca_file=authority.file)) == 404
        assert len(login.forms) == 1
