"""Judges marked resources again: a newer validator or newer terminology may find them sound.

Only marked resources are read, so the work follows the number of faults and not the size of the store. A
resource without a mark is judged when its next version comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable

from fhir_coprod import definitions
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.store.entering import judge
from fhir_coprod.store.quality import Marks, marks, told_by
from fhir_coprod.store.repository import Store
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.versions import Version
from fhir_coprod.validation import validate_document

CHUNK = 200
"""Resources in one transaction."""
JUDGED_BY = "quality:judged-by"
"""The setting of a store that says by which rules its marks were made."""

Validate = Callable[[Document], Outcome]


@dataclass(frozen=True, slots=True)
class Rechecked:
    """How many marked resources were judged again, and how many of these are sound now."""

    judged: int = 0
    sound: int = 0


def recheck(store: Store, validate: Validate = validate_document) -> Rechecked:
    """Judge every marked resource again. Makes no version; may be interrupted and repeated."""
    judged = sound = after = 0
    while found := store.marked(after, CHUNK):
        after = found[-1][0]
        verdicts = [(version, marks(_judged(version, validate))) for _, version in found]

        def work(transaction: Transaction, verdicts: list[tuple[Version, Marks]] = verdicts) -> None:
            transaction.remark([(version, _told(transaction, version, now)) for version, now in verdicts])

        store.write(work)
        judged += len(verdicts)
        sound += sum(1 for _, now in verdicts if not now)
    return Rechecked(judged, sound)


def _judged(version: Version, validate: Validate) -> Outcome:
    document = Document(version.body, version.data)
    return validate(document) if version.source.startswith("ehr:") else judge(document, validate)


def recheck_by_newer_rules(store: Store) -> Rechecked:
    """The same, if the rules have changed since it was last done."""
    rules = judged_by(definitions.generation())
    if store.setting(JUDGED_BY) == rules:
        return Rechecked()
    done = recheck(store)
    store.write(lambda transaction: transaction.set_setting(JUDGED_BY, rules))
    return done


def _told(transaction: Transaction, version: Version, now: Marks) -> Marks:
    """The marks, each with the source that it had."""
    other = version.source if version.source.startswith("ehr:") else ""
    return told_by(now, transaction.marks(version.type, version.id), other)


@lru_cache(maxsize=1)
def judged_by(generation: int) -> str:
    """A hash of the definitions and of the validator."""
    package = resources.files("fhir_coprod")
    digest = hashlib.blake2b(digest_size=12)
    for folder in (package / "_data", package / "validation"):
        for file in _files(folder):
            digest.update(file.read_bytes())
    for loaded in definitions.registry().packages:
        digest.update(loaded.name.encode())
    return digest.hexdigest()


def _files(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            found += _files(item)
        elif item.name.endswith((".py", ".json", ".zip")):
            found.append(item)
    return found
