"""Checks codes of systems that have a grammar instead of a list: units and languages."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fhir_coprod import definitions
from fhir_coprod.validation.model.ucum import is_unit

UCUM = "http://unitsofmeasure.org"
LANGUAGES = "urn:ietf:bcp:47"

_COUNTRIES = "http://hl7.org/fhir/ValueSet/iso3166-1-2"
_ISO_639_1 = """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz
    ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik
    io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml
    mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd
    se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve
    vi vo wa wo xh yi yo za zh zu
"""
_TWO_LETTERS = frozenset(_ISO_639_1.split())
_tag = re.compile(
    r"([A-Za-z]{2,3})(?:-[A-Za-z]{3}){0,3}(?:-[A-Za-z]{4})?(?:-([A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*"
    r"(?:-[xX](?:-[A-Za-z0-9]{1,8})+)?|[xX](?:-[A-Za-z0-9]{1,8})+"
).fullmatch


def is_language(tag: str) -> bool:
    """Whether a text is a language tag of BCP 47 with a language and country that exist.

    Any language of three letters is taken to exist: there are thousands.
    """
    match = _tag(tag)
    if match is None:
        return False
    language, region = match.groups()
    if language is not None and len(language) == 2 and language.lower() not in _TWO_LETTERS:
        return False
    if region is None or region.isdigit():
        return True
    countries = definitions.value_set(_COUNTRIES)
    return countries is None or any(region.upper() in codes for codes in countries.values())


def is_defined(system: str, code: str, version: str | None = None) -> bool | None:
    """Whether the code system has the code; None when that cannot be decided offline.

    version: the version of the system that the coding names
    """
    if system == UCUM:
        return is_unit(code)
    if system == LANGUAGES:
        return is_language(code)
    held = definitions.editions(system)
    return None if held is None else held.has(code, version)


@dataclass(frozen=True, slots=True)
class Missing:
    """A code that its own code system, as it is held here, does not have.

    version: the version that was looked at; "" when the system has none
    named:   whether the coding itself names that version. Only then is the code wrong: code systems grow, and
             a later version than the one that is held here may have it.
    """

    version: str
    named: bool


def missing(coding: object) -> Missing | None:
    """What is known against the code of a Coding or Quantity; None when nothing is."""
    if not isinstance(coding, dict):
        return None
    code, system, version = coding.get("code"), coding.get("system"), coding.get("version")
    if not isinstance(code, str) or not isinstance(system, str):
        return None
    version = version if isinstance(version, str) else None
    if is_defined(system, code, version) is not False:
        return None
    held = definitions.editions(system)
    if held is None:
        return Missing("", named=False)
    if version is not None and version in held.by_name:
        return Missing(version, named=True)
    return Missing(held.newest, named=False)


def lacks_code(coding: object) -> bool:
    """Whether a Coding names a code system that is held in full but no code of it."""
    if not isinstance(coding, dict) or "code" in coding or "_code" in coding:
        return False
    system = coding.get("system")
    return isinstance(system, str) and definitions.code_system(system) is not None
