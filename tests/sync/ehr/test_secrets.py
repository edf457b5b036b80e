"""The secrets that a client shows: where they come from, and what happens when they are renewed or wrong."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import respx

from fhir_coprod.accounts import BasicAuth, BearerAuth
from fhir_coprod.errors import ConfigError
from fhir_coprod.sync.ehr.sending import Answer
from tests.sync.ehr.asking import BASE, Clock, get, one


@respx.mock
def test_basic_and_bearer_secrets_come_from_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = respx.get(f"{BASE}/Patient").respond(200)
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    monkeypatch.setenv("EHR_TOKEN", "abc")
    one(Clock(), auth=BasicAuth(type="basic", user="eva", password_file=secret))
    one(Clock(), auth=BearerAuth(type="bearer", token_env="EHR_TOKEN"))
    sent = [call.request.headers["Authorization"] for call in route.calls]
    assert sent == ["Basic ZXZhOmh1bnRlcjI=", "Bearer abc"]


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        (BearerAuth(type="bearer", token_env="NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (BearerAuth(type="bearer", token_file=Path("no-such-file")), "no-such-file"),
        (BearerAuth(type="bearer"), "token_file or token_env"),
    ],
)
def test_a_missing_secret_is_a_config_error(auth: BearerAuth, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        get(Clock(), auth=auth)


@pytest.mark.parametrize("secret", ["", "two\nlines", "h\u00f6mlig", "nul\x00", "ret\rurn"])
def test_a_secret_that_no_header_can_hold_is_refused_without_being_told(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(secret.encode())
    for auth in (
        BearerAuth(type="bearer", token_file=file),
        BasicAuth(type="basic", user="eva", password_file=file),
    ):
        with pytest.raises(ConfigError, match="one line of printable ASCII") as caught:
            get(Clock(), auth=auth)
        assert not secret or secret not in str(caught.value)


@respx.mock
def test_a_token_that_was_renewed_meanwhile_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def answer(request: httpx.Request) -> httpx.Response:
        good = request.headers["Authorization"] == "Bearer new"
        file.write_text("new")  # somebody renews it after the first request
        return httpx.Response(200 if good else 401, json={})

    route = respx.get(f"{BASE}/Patient").mock(side_effect=answer)
    auth = BearerAuth(type="bearer", token_file=file)
    found = get(Clock(), times=2, auth=auth)
    assert [one.status for one in found if isinstance(one, Answer)] == [200, 200]
    assert route.call_count == 3


@respx.mock
@pytest.mark.parametrize("change", ["none", "gone"])
def test_a_token_that_is_refused_and_the_same_is_not_sent_again(tmp_path: Path, change: str) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def answer(request: httpx.Request) -> httpx.Response:
        if change == "gone":
            file.unlink()
        return httpx.Response(401)

    route = respx.get(f"{BASE}/Patient").mock(side_effect=answer)
    assert one(Clock(), auth=BearerAuth(type="bearer", token_file=file)).status == 401
    assert route.call_count == 1
