"""Reads FHIR packages: ours, and any others that are loaded at run time.

A package is a folder, or a .tgz with a folder `package/`, of JSON resources with a `package.json`
(https://confluence.hl7.org/display/FHIR/NPM+Package+Specification). If it has an `.index.json`, opening the
package reads no resource.
"""

from __future__ import annotations

import codecs
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from fhir_coprod.errors import ConfigError
from fhir_coprod.jsontext import Json

_decode = msgspec.json.Decoder().decode

CONFORMANCE = frozenset(
    {
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "GraphDefinition",
        "ImplementationGuide",
        "Library",
        "Measure",
        "MessageDefinition",
        "NamingSystem",
        "OperationDefinition",
        "PlanDefinition",
        "Questionnaire",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "TerminologyCapabilities",
        "ValueSet",
    }
)
"""Types that define something, so that their resources are known by canonical."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """One resource of a package: its file and what it is."""

    file: str
    type: str
    id: str
    url: str
    is_example: bool


class Package:
    """The resources of one package, each decoded on demand.

    Raises ConfigError when the file is not a FHIR package.
    """

    def __init__(self, name: str, files: Mapping[str, Path | bytes]) -> None:
        """files: name within the package (`StructureDefinition-x.json`, `example/…`) → its path or bytes."""
        self.name = name
        self._files = files

    @classmethod
    def open(cls, path: Path) -> Package:
        """Open a package from a folder or a .tgz."""
        if path.is_dir():
            members: dict[str, Path | bytes] = {
                file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*.json"))
            }
            where = ""
        else:
            members = cls._unpacked(path)
            where = " under package/"
        if not members:
            raise ConfigError(f"{path} holds no FHIR resources{where}; give a FHIR package.")
        return cls(path.name, members)

    @staticmethod
    def _unpacked(path: Path) -> dict[str, Path | bytes]:
        try:
            return dict(_members(path))
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise ConfigError(
                f"{path} cannot be read as a FHIR package ({type(error).__name__}); "
                "give a .tgz with a package/ folder, or that folder."
            ) from None

    def __repr__(self) -> str:
        return f"Package({self.name!r}, {len(self.by_url)} definitions)"

    def _bytes(self, file: str) -> bytes:
        held = self._files[file]
        return (held if isinstance(held, bytes) else held.read_bytes()).removeprefix(codecs.BOM_UTF8)

    def read(self, entry: Packaged) -> Json:
        """The resource of an entry, decoded afresh."""
        resource: Json = _decode(self._bytes(entry.file))
        return resource

    def _rows(self, index: str) -> list[Json]:
        rows: list[Json] = _decode(self._bytes(index)).get("files", [])
        return rows

    @cached_property
    def entries(self) -> tuple[Packaged, ...]:
        """Every resource of the package."""
        found: list[Packaged] = []
        indexes = [file for file in self._files if PurePosixPath(file).name == ".index.json"]
        indexed: set[str] = set()
        for index in indexes:
            folder = PurePosixPath(index).parent
            try:
                rows = [((folder / row["filename"]).as_posix(), row) for row in self._rows(index)]
            except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
                raise ConfigError(f"{self.name}: {index} is malformed; build the package again.") from None
            for file, row in rows:
                if file in self._files:
                    indexed.add(file)
                    found.append(_entry(file, row.get("resourceType", ""), row))
        for file in self._files:
            name = PurePosixPath(file).name
            if file in indexed or not name.endswith(".json") or name in ("package.json", ".index.json"):
                continue
            try:
                resource = _decode(self._bytes(file))
            except msgspec.DecodeError:
                raise ConfigError(
                    f"{self.name}: {file} is not valid JSON; build the package again."
                ) from None
            if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
                found.append(_entry(file, resource["resourceType"], resource))
        return tuple(sorted(found, key=lambda entry: entry.file))

    @cached_property
    def by_url(self) -> Mapping[str, Packaged]:
        """Conformance resources by canonical."""
        return {entry.url: entry for entry in self.entries if entry.url and not entry.is_example}

    def of_type(self, resource_type: str | None = None) -> Iterator[Packaged]:
        """Conformance resources, of one type or of all."""
        for entry in self.entries:
            if not entry.is_example and resource_type in (None, entry.type):
                yield entry

    def examples(self) -> Iterator[Packaged]:
        return (entry for entry in self.entries if entry.is_example)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file, by its name within the package, in the order of the names."""
        return ((file, self._bytes(file)) for file in sorted(self._files))


def _entry(file: str, resource_type: str, row: Json) -> Packaged:
    url = row.get("url") if resource_type in CONFORMANCE else None
    folder = PurePosixPath(file).parts[0]
    return Packaged(
        file=file,
        type=resource_type,
        id=str(row.get("id") or ""),
        url=url if isinstance(url, str) else "",
        is_example=folder in ("example", "examples") or resource_type not in CONFORMANCE,
    )


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """JSON files of a .tgz under package/ (or the only top folder), by their name below it."""
    with tarfile.open(path) as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            if not member.isfile() or not member.name.endswith(".json") or len(parts) < 2:
                continue
            if parts[0] not in ("package", "."):
                continue
            inside = parts[2:] if parts[:2] == (".", "package") else parts[1:]
            content = archive.extractfile(member)
            if content is not None and inside:
                yield "/".join(inside), content.read()
