"""The kinds of segments that the path of a FHIR URL is made of, for Starlette's notation of routes."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor

from fhir_coprod import jsontext
from fhir_coprod.store.search import compartments


class _Name(Convertor[str]):
    """A path segment of one kind; one that does not match falls through to the next route."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Type(_Name):
    regex = r"(?!metadata\b)[A-Za-z]+"


class _Patient(_Name):
    regex = "Patient"


class _Referral(_Name):
    regex = "ServiceRequest"


class _Owner(_Name):
    regex = "|".join(compartments.NAMES)


class _Member(_Name):
    regex = r"[A-Za-z]+|\*"


class _Id(_Name):
    regex = jsontext.ID_PATTERN


class _Group(_Name):
    regex = "Group"


class _File(_Name):
    regex = r"[0-9a-f]{32}\.ndjson"


def register() -> None:
    """Make the kinds known to Starlette, as fhir_type, fhir_id and so on."""
    for name, kind in (
        ("type", _Type()),
        ("patient", _Patient()),
        ("referral", _Referral()),
        ("owner", _Owner()),
        ("member", _Member()),
        ("id", _Id()),
        ("group", _Group()),
        ("file", _File()),
    ):
        register_url_convertor(f"fhir_{name}", kind)
