"""Caches the facts of each referral beside its standing, so that judging it again need not read its record.

The facts are valid until the log has something new about the referral: then its row is marked (`rows.py`),
and the record itself is read. They do not include what cannot be seen: the feeds tell that when the referral
is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import msgspec

from fhir_coprod.watch.facts import affected
from fhir_coprod.watch.facts.reader import PORTION, Found, Reader
from fhir_coprod.watch.facts.rows import Held
from fhir_coprod.watch.record.fhir import batches, split
from fhir_coprod.watch.record.model import Facts


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a row keeps about its referral."""

    facts: Facts
    ehr: str
    from_ehr: bool
    asked: bool
    """Whether there is a follow-up about it."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode
_MARK: Final = 8
"""Bytes before the facts that say how they were read."""


JUDGING: Final = ("record", "rules", "facts")
"""The folders of the watch that read and judge. The others report what is found and act on it: a changed word
in a letter makes no standing invalid."""
BESIDE: Final = ("alike.py", "readable.py", "validation/model/formats.py", "watched.py")
"""What they are driven by beside that: which orders are alike, what can be read of a record, which text is a
date, and the table by which they find what belongs to a referral."""


@cache
def program() -> bytes:
    """A hash of the code that reads and judges: what another version of it said has to be judged again."""
    return digest_of(resources.files("fhir_coprod"))


def digest_of(package: Traversable) -> bytes:
    """The hash of the code that reads and judges, in a copy of the package `fhir_coprod`."""
    digest = hashlib.blake2b(digest_size=12)
    for name in BESIDE:
        digest.update(package.joinpath(*name.split("/")).read_bytes())
    for folder in JUDGING:
        files = [file for file in (package / "watch" / folder).iterdir() if file.name.endswith(".py")]
        for file in sorted(files, key=lambda file: file.name):
            digest.update(file.read_bytes())
    return digest.digest()


@cache
def _reading(surroundings: str) -> bytes:
    """A hash of what facts depend on beside the record: this code, and the reader's `surroundings`."""
    return hashlib.blake2b(program() + surroundings.encode(), digest_size=_MARK).digest()


def pack(found: Found, surroundings: str, *, asked: bool) -> bytes | None:
    """The facts as a row keeps them; None if there are none, or if they rest on a record that may be out of
    date.

    surroundings: those of the reader.
    asked:        whether there is a follow-up about it.
    """
    facts = found.facts
    if facts is None or any(blind.record for blind in facts.blind):
        return None
    if facts.blind or facts.practice:
        facts = msgspec.structs.replace(facts, blind=(), practice=())
    return _reading(surroundings) + _encode(Kept(facts, found.ehr, found.from_ehr, asked))


class Sources:
    """Gets the facts of referrals: from their rows if those are still valid, otherwise from the record."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._reading = _reading(reader.surroundings)
        self._uncertain: set[str] = (
            affected.referrals_of(reader.connection, reader.unread) if reader.unread else set()
        )

    def find(self, rows: Mapping[str, Held | None]) -> Iterator[tuple[Found, bool | None]]:
        """Yields each one that is a referral.

        The second value is None if the record was read. If the facts come from the row, the follow-ups are
        not read, and it says whether there are any.
        """
        unknown: list[str] = []
        for name, held in rows.items():
            kept = self._kept(name, held)
            if kept is None:
                unknown.append(name)
            else:
                yield Found(name, self._as_seen(name, kept), (), "", kept.ehr, kept.from_ehr), kept.asked
        for some in batches(unknown, PORTION):
            self.reader.forget()
            roots = self.reader.by_reference({split(name) for name in some})
            for found in self.reader.read(roots):
                yield found, None

    def kept(self, name: str, held: Held | None) -> Facts | None:
        """The facts that the row of one referral keeps, with what cannot be seen at present; None if they are
        no longer valid."""
        kept = self._kept(name, held)
        return self._as_seen(name, kept) if kept else None

    def _kept(self, name: str, held: Held | None) -> Kept | None:
        if held is None or held.facts is None or not held.is_settled or name in self._uncertain:
            return None
        if not held.facts.startswith(self._reading):
            return None
        return _decode(memoryview(held.facts)[_MARK:])

    def _as_seen(self, name: str, kept: Kept) -> Facts:
        """The kept facts with what cannot be seen, and what is not in use, at present."""
        facts = self.reader.practices.applied(kept.facts, kept.ehr)
        if not self.reader.blind:
            return facts
        requesters = kept.facts.request.requesters if name.startswith("ServiceRequest/") else ()
        blind = self.reader.blind_for(kept.ehr, requesters, from_ehr=kept.from_ehr)
        return msgspec.structs.replace(facts, blind=blind) if blind else facts
