"""Tells which of two versions of a record is the older one."""

from __future__ import annotations

from typing import NamedTuple

from fhir_coprod.instants import sortable
from fhir_coprod.jsontext import Json


class Order(NamedTuple):
    """When a version of a record was made: its number, None if its versionId is no number, and its time."""

    number: int | None
    updated: str

    @classmethod
    def of(cls, version: str, updated: str) -> Order:
        is_number = version.isascii() and version.isdecimal() and len(version) < 18
        return cls(int(version) if is_number else None, updated)

    def packed(self) -> str:
        """As a text that `unpacked` reads."""
        return f"{'' if self.number is None else self.number} {self.updated}"

    @classmethod
    def unpacked(cls, text: str) -> Order:
        number, _, updated = text.partition(" ")
        return cls(int(number) if number else None, updated)

    def is_before(self, other: Order, *, by_content: bool) -> bool:
        """Whether it is an older version than `other`.

        A greater number is newer whatever its time says: clocks are set back. A smaller number is older
        unless its time is later: a server that was restored counts anew. Without such numbers the time
        decides, or nothing does if the record comes `by_content`.
        """
        if self.number is None or other.number is None or self.number == other.number:
            return not by_content and bool(self.updated) and self.updated < other.updated
        return self.number < other.number and bool(self.updated) and self.updated <= other.updated


def stamps(data: Json) -> tuple[str, str]:
    """versionId, and lastUpdated in the form that sorts by time; "" for what is missing or is none."""
    found = data.get("meta")
    meta: Json = found if isinstance(found, dict) else {}
    return str(meta.get("versionId", "")), sortable(meta.get("lastUpdated"))
