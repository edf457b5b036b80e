"""What a vendor's servers do otherwise than their own CapabilityStatement says: one TOML file per vendor.

    software = ["Epic"]              names in CapabilityStatement.software.name this file is for
    implementation = ["Oracle"]      beginnings of implementation.description, for statements without software
    page_size = 100                  _count
    overlap_seconds = 300            how far an incremental pull reaches back behind its watermark
    [headers]                        sent with every request
    [codes]                          OperationOutcome.issue.details codes with a meaning of their own
    restart = ["4113"]               read that unit again from its start
    ignore = ["4122"]                a warning only
    [types.CarePlan]
    find = "by-patient"              history, last-updated, crawl, by-patient, by-reference, none
    patient_parameter = "patient"
    queries = [[["category", "assess-plan"]]]     searches that together give everything
    reason = "…"                     why; for "none", what cannot be seen

A site may give a path to a file of its own as `vendor`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import msgspec

from fhir_coprod.errors import ConfigError

Find = Literal["history", "last-updated", "crawl", "by-patient", "by-reference", "none"]
"""How changes of one type are found at one EHR.

history:      type history since the watermark; a full run lists everything
last-updated: search by `_lastUpdated` since the watermark; a full run lists everything
crawl:        everything is listed each time, and content hashes tell what changed
by-patient:   the same, for one known patient after another
by-reference: those that something refers to, each time, by id: at once where `_id` can be searched, else
              one by one
none:         cannot be observed
"""

Query = tuple[tuple[str, str], ...]


class TypeDeviation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is different for one resource type; unset means: as the statement says."""

    find: Find | None = None
    patient_parameter: str = "patient"
    queries: tuple[Query, ...] = ()
    reason: str = ""


class Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Codes in OperationOutcome.issue.details that mean more than their HTTP status."""

    restart: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of deviations; see the module's docstring."""

    software: tuple[str, ...] = ()
    implementation: tuple[str, ...] = ()
    page_size: int = 200
    overlap_seconds: int = 120
    headers: dict[str, str] = {}
    codes: Codes = Codes()
    types: dict[str, TypeDeviation] = {}


PLAIN = Vendor()
"""A server without known deviations."""


def names() -> tuple[str, ...]:
    """The vendors that come with the package."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _folder().iterdir()))


def load(vendor: str) -> Vendor:
    """The deviations of `vendor`: a name that comes with the package, or the path of a .toml file.

    Raises ConfigError when there is none of that name, or when the file cannot be understood.
    """
    if vendor.endswith(".toml"):
        try:
            text = Path(vendor).read_bytes()
        except OSError as error:
            raise ConfigError(f"vendor file {vendor}: cannot be read ({error.strerror}).") from None
        return _decode(text, vendor)
    if vendor not in names():
        raise ConfigError(
            f"vendor {vendor!r} is unknown; known: {', '.join(names())}, or a path to a .toml file."
        )
    return _bundled(vendor)


def recognise(software: str, implementation: str) -> tuple[str, Vendor]:
    """Name and deviations of the vendor whose file claims that server; ("", PLAIN) when none does."""
    for name in names():
        vendor = _bundled(name)
        if software in vendor.software or any(implementation.startswith(i) for i in vendor.implementation):
            return name, vendor
    return "", PLAIN


@cache
def _bundled(name: str) -> Vendor:
    return _decode((_folder() / f"{name}.toml").read_bytes(), f"{name}.toml")


def _decode(text: bytes, file: str) -> Vendor:
    try:
        return msgspec.toml.decode(text, type=Vendor)
    except UnicodeDecodeError:
        raise ConfigError(f"vendor file {file}: not UTF-8.") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"vendor file {file}: {error}.") from None


def _folder() -> Traversable:
    return resources.files("fhir_coprod") / "_data" / "mappings" / "ehr"
