"""Loads vendor files (mappings/ehr/VENDOR.toml): how servers differ from their own CapabilityStatement.

    like = "athenahealth"            what is not said here is as in that file of ours; for a site's own file
    software = ["Epic"]              the values of CapabilityStatement.software.name that this file is for;
                                     "MEDITECH*" is for all that begin so
    implementation = ["Oracle"]      beginnings of implementation.description, for statements without software
    addresses = ["/ws/fhir2/R4"]     ends of the base address, for servers whose statement does not say who
                                     they are; tried first
    page_size = 100                  _count
    overlap_seconds = 300            how far an incremental pull reaches back before its watermark
    trust_totals = false             Bundle.total is no count of what a search can show; do not go by it
    [headers]                        sent with every request; no secrets
    [parameters]                     sent with every search
    _sort = "_lastUpdated"
    [codes]                          OperationOutcome.issue.details codes with a meaning of their own
    restart = ["4113"]               read that type or patient again from the start
    ignore = ["4122"]                only a warning: what came with it is complete
    gone = ["4103"]                  the record that was asked for by its id is deleted, unless we are refused
    [bulk]                           how its bulk exports differ
    types = ["Patient", "Goal"]      the types that they hold; without this line, all
    since = false                    they do not heed _since
    every_hours = 24                 from one export to the next
    [types.CarePlan]
    find = "by-patient"              history, last-updated, crawl, by-patient, by-reference, bulk, none
    patient_parameter = "patient"
    queries = [[["category", "assess-plan"]]]     searches that together return everything
    reason = "…"                     why; for "none", what cannot be seen

A site may set `vendor` to the path of its own file, which is checked against R4 like ours.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from fhir_coprod import mappings
from fhir_coprod.errors import ConfigError
from fhir_coprod.mappings import Finding, r4

Find = Literal["history", "last-updated", "crawl", "by-patient", "by-reference", "bulk", "none"]
"""How to find changes of one type at one EHR.

history:      read the type history since the watermark; a full run lists everything
last-updated: search by `_lastUpdated` since the watermark; a full run lists everything
crawl:        list everything each time; content hashes tell what changed
by-patient:   the same, for one known patient after another
by-reference: each time, read by id what something refers to: together if `_id` can be searched, otherwise
              one by one
bulk:         bulk exports, with `_since` where that can be
none:         it cannot be observed
"""

Query = tuple[tuple[str, str], ...]


class TypeDeviation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is different for one resource type; if a field is unset, the statement is right."""

    find: Find | None = None
    patient_parameter: str = "patient"
    queries: tuple[Query, ...] = ()
    reason: str = ""


class Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Codes in OperationOutcome.issue.details that mean something other than their HTTP status."""

    restart: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class Bulk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How bulk exports of these servers differ."""

    types: tuple[str, ...] = ()
    """The types that they hold; empty: all that the statement offers."""
    since: bool = True
    """Whether they heed `_since`; if not, each export is whole."""
    every_hours: Annotated[float, msgspec.Meta(ge=0, le=8760)] = 1
    """From one export to the next."""


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of one vendor file; see the module's docstring."""

    like: str = ""
    software: tuple[str, ...] = ()
    implementation: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    page_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 120
    trust_totals: bool = True
    headers: dict[str, str] = {}
    parameters: dict[str, str] = {}
    codes: Codes = Codes()
    bulk: Bulk = Bulk()
    types: dict[str, TypeDeviation] = {}


PLAIN = Vendor()
"""A server without known deviations."""


def names() -> tuple[str, ...]:
    """The vendors that come with the package, sorted."""
    return tuple(_bundled())


def load(vendor: str) -> Vendor:
    """The deviations of `vendor`: a name that comes with the package, or the path of a .toml file.

    Raises ConfigError if there is no vendor of that name, or if the file contains something that R4 or this
    program does not know.
    """
    if vendor.endswith(".toml"):
        try:
            text = Path(vendor).read_bytes()
        except OSError as error:
            raise ConfigError(f"vendor file {vendor}: cannot be read ({error.strerror}).") from None
        return read(text, vendor)
    if vendor not in names():
        raise ConfigError(
            f"vendor {vendor!r} is unknown; known: {', '.join(names())}, or a path to a .toml file."
        )
    return _bundled()[vendor]


def recognise(software: str, implementation: str, address: str) -> tuple[str, Vendor]:
    """The name and deviations of the vendor whose file is for that server; ("", PLAIN) if there is none.

    software, implementation: software.name and implementation.description of its statement
    address:                  its base address
    """
    for name, vendor in _bundled().items():
        if any(address.rstrip("/").endswith(end) for end in vendor.addresses):
            return name, vendor
    for name, vendor in _bundled().items():
        if any(_is_named(software, known) for known in vendor.software):
            return name, vendor
        if any(implementation.startswith(known) for known in vendor.implementation):
            return name, vendor
    return "", PLAIN


def _is_named(software: str, known: str) -> bool:
    return software.startswith(known[:-1]) if known.endswith("*") else software == known


def read(text: bytes, file: str) -> Vendor:
    """The content of a vendor file. Raises Mistakes, a ConfigError, with every mistake in it."""
    return _whole(mappings.read(text, file, Vendor, lambda own: mistakes(_whole(own, text))), text)


def _whole(own: Vendor, text: bytes) -> Vendor:
    """What a file says, and for the rest what that one of ours says that it is like, if it is like any."""
    base = _bundled().get(own.like)
    if base is None:
        return own
    return msgspec.convert(_upon(msgspec.to_builtins(base), tomllib.loads(text.decode())), Vendor)


def _upon(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What `own` says, and for the rest what `base` says; a type is taken from one of them as a whole."""
    tables = {key: {**base.get(key, {}), **value} for key, value in own.items() if isinstance(value, dict)}
    return {**base, **own, **tables}


@cache
def _bundled() -> Mapping[str, Vendor]:
    return mappings.compiled("ehr", dict[str, Vendor])


# --- what is wrong in a file ----------------------------------------------------------------------


def mistakes(vendor: Vendor) -> Iterator[Finding]:
    """What a vendor file must not set, contradictory codes, and names that R4 or we do not have."""
    if vendor.like and vendor.like not in names():
        yield ("like",), f"{vendor.like!r} is none of our files: {', '.join(names())}."
    for name, value in vendor.headers.items():
        yield from _header_mistakes(name, value)
    for name, value in vendor.parameters.items():
        yield from _parameter_mistakes(name, value)
    meanings = {"restart": vendor.codes.restart, "ignore": vendor.codes.ignore, "gone": vendor.codes.gone}
    for (first, ones), (second, others) in combinations(meanings.items(), 2):
        for code in sorted({*ones} & {*others}):
            yield ("codes", second), f"{code!r} is in {first}, too; it can mean only one thing."
    for type in vendor.bulk.types:
        if said := r4.type_mistake(type):
            yield ("bulk", "types"), said
    for type, deviation in vendor.types.items():
        if said := r4.type_mistake(type):
            yield ("types", type), said
        else:
            yield from _type_mistakes(type, deviation)


def _type_mistakes(type: str, deviation: TypeDeviation) -> Iterator[Finding]:
    patient = deviation.patient_parameter
    if deviation.find == "by-patient" or patient != "patient":
        held = r4.parameter(type, patient)
        if held is None:
            said = r4.search_mistake(type, patient, "")
        else:
            said = "" if "Patient" in held.target else f"{type}.{patient} leads to no Patient in R4."
        if said:
            yield ("types", type, "patient_parameter"), said
    for query in deviation.queries:
        for name, value in query:
            if name == "_count":
                yield ("types", type, "queries"), "set the size of a page with page_size, not _count."
            elif not name.startswith(_OWN) and (said := r4.search_mistake(type, name, value)):
                yield ("types", type, "queries"), said


_OWN = "-"
"""How the names of search parameters begin that a server has made itself."""
_SECRET = re.compile(r"authorization|cookie|token|secret|password|api-?key|subscription-?key", re.IGNORECASE)
_CLIENTS_OWN = frozenset(("accept-encoding", "connection", "content-length", "host", "transfer-encoding"))
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110, token."""


def _parameter_mistakes(name: str, value: str) -> Iterator[Finding]:
    """A vendor may have parameters of its own, so names that R4 does not have are no mistake here."""
    key = ("parameters", name)
    if _SECRET.search(name):
        yield key, "secrets never belong in a mapping file, nor in an address; delete this line."
    elif name == "_count":
        yield key, "set the size of a page with page_size, not _count."
    elif not name or not value:
        yield key, "write the name of a search parameter and its value."


def _header_mistakes(name: str, value: str) -> Iterator[Finding]:
    key = ("headers", name)
    if _SECRET.search(name):
        yield (
            key,
            "secrets never belong in a mapping file; delete this line. The EHR's `auth` in coprod.toml names "
            'the file or the variable that holds the secret, as in { type = "bearer", token_file = "…" }.',
        )
    elif name.lower() in _CLIENTS_OWN:
        yield key, "this header is set by the client itself; delete this line."
    elif not _HEADER_NAME.fullmatch(name):
        yield key, "no name of an HTTP header; it has letters, digits and '-' only."
    elif not value or not (value.isascii() and value.isprintable()) or value != value.strip():
        yield key, "write one line of printable ASCII, without spaces at its ends."
