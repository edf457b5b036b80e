"""Proxies, pages of other sites, certificates, and rates."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_coprod.access.rates import Rates
from fhir_coprod.access_settings import AccessSettings, ServerTlsSettings
from fhir_coprod.api.certificate import Certificate, hsts
from fhir_coprod.api.transport import UNKNOWN, Proxies
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import Settings, SiteSettings
from tests.api.conftest import Api


@pytest.mark.parametrize(
    ("peer", "headers", "found"),
    [
        ("10.0.0.5", {"x-forwarded-for": "203.0.113.7"}, "203.0.113.7"),
        ("10.0.0.5", {"x-forwarded-for": "127.0.0.1, 203.0.113.7"}, "203.0.113.7"),
        ("10.0.0.5", {"x-forwarded-for": "203.0.113.7, 10.0.0.6"}, "203.0.113.7"),
        ("10.0.0.5", {"x-forwarded-for": "[2001:db8::1]:4000"}, "2001:db8::1"),
        ("10.0.0.5", {"x-forwarded-for": "203.0.113.7:4000"}, "203.0.113.7"),
        ("10.0.0.5", {"x-forwarded-for": "unknown"}, UNKNOWN),
        ("10.0.0.5", {}, "10.0.0.5"),
        ("192.0.2.1", {"x-forwarded-for": "127.0.0.1"}, "192.0.2.1"),
        ("192.0.2.1", {"x-forwarded-proto": "https"}, "192.0.2.1"),
    ],
)
def test_only_our_proxies_are_believed(peer: str, headers: dict[str, str], found: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": raw}
    Proxies(["10.0.0.0/24"]).believe(scope)
    assert scope["client"][0] == found
    assert scope["scheme"] == "http"


def test_a_proxy_says_how_the_caller_came() -> None:
    scope = {
        "type": "http",
        "client": ("10.0.0.5", 1),
        "scheme": "http",
        "headers": [(b"x-forwarded-proto", b"https")],
    }
    Proxies(["10.0.0.5"]).believe(scope)
    assert scope["scheme"] == "https"


def test_only_pages_of_listed_sites_may_call(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api(access=AccessSettings(origins=("https://app.example",)))
    ours = api.get("Patient", origin="https://app.example")
    assert ours.headers["access-control-allow-origin"] == "https://app.example"
    assert "origin" in ", ".join(ours.headers.get_list("vary"))
    assert "access-control-allow-credentials" not in ours.headers
    for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
        assert "access-control-allow-origin" not in api.get("Patient", origin=origin).headers
    asks = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    answer = api.request("OPTIONS", "Patient", headers={"origin": "https://app.example", **asks})
    assert answer.status_code == 204
    assert "authorization" in answer.headers["access-control-allow-headers"]
    page = api.get("http://localhost/", origin="https://app.example")
    assert "access-control-allow-origin" not in page.headers, "pages are nobody else's"
    assert (
        "access-control-allow-origin" not in sqlite_api().get("Patient", origin="https://app.example").headers
    )


def make_certificate(folder: Path, name: str = "localhost") -> ServerTlsSettings:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return ServerTlsSettings(certificate_file=certificate, key_file=key)


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_certificate(tmp_path)
    held = Certificate(settings)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    held.require()
    held.use(context)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    caplog.set_level("INFO", "fhir_coprod.api")
    held.renew(context)
    assert not caplog.records
    make_certificate(tmp_path, "other.example")
    held.renew(context)
    assert "took a new certificate" in caplog.text
    assert settings.key_file is not None
    settings.key_file.write_text("broken")
    held.renew(context)
    assert "stays the old one" in caplog.text
    with pytest.raises(ConfigError, match="PEM"):
        held.require()


def test_browsers_are_told_to_come_by_https_where_that_works(tmp_path: Path) -> None:
    assert hsts(Settings()) == []
    by_proxy = Settings(site=SiteSettings(base_url="https://coprod.example/fhir"))
    assert hsts(by_proxy) == [("strict-transport-security", "max-age=31536000")]


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    rates = Rates(1.0, 3.0, lambda: now[0])
    assert [rates.take("a") for _ in range(3)] == [0, 0, 0]
    assert rates.take("a") == pytest.approx(1.0)
    assert rates.take("b") == 0
    now[0] = 2.0
    assert [rates.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_strangers_do_not_fill_the_memory() -> None:
    rates = Rates(1.0, 3.0, lambda: 0.0)
    for number in range(25_000):
        rates.take(str(number))
    assert len(rates._held) <= 10_000
