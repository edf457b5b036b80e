"""FHIR's definitions and ours: the R4 pack, HL7's terminology of today, our own package and loaded packages,
looked up by canonical.

Nothing else in this program reads a StructureDefinition file. Importing this module reads nothing; the first
use of a type reads that type. Everything it returns is shared between callers and must not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fhir_coprod.definitions import snapshots
from fhir_coprod.definitions.editions import Editions
from fhir_coprod.definitions.pack import Pack, TerminologyPack
from fhir_coprod.definitions.package import CONFORMANCE, Package
from fhir_coprod.definitions.registry import CORE, Definitions, canonical
from fhir_coprod.definitions.search import Component, SearchParameter
from fhir_coprod.definitions.snapshots import with_snapshot
from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.errors import UnknownDefinition
from fhir_coprod.jsontext import Json

__all__ = [
    "CANONICAL",
    "CONFORMANCE",
    "CORE",
    "PROFILE",
    "Component",
    "Definitions",
    "Editions",
    "Package",
    "SearchParameter",
    "UnknownDefinition",
    "ValueSet",
    "canonical",
    "code_system",
    "codes_above",
    "codes_below",
    "compartment",
    "editions",
    "examples",
    "generation",
    "has_structure",
    "is_resource_type",
    "load_package",
    "misfit",
    "own_package",
    "own_resources",
    "profile_url",
    "registry",
    "resource",
    "resource_types",
    "search_parameters",
    "structure",
    "value_set",
    "value_set_content",
    "with_snapshot",
]

CANONICAL = "https://fhir-coprod.org/ig"
"""Base of all canonicals that we define. It need not resolve."""
PROFILE = CANONICAL + "/StructureDefinition/"
"""PROFILE + "coproduction-careplan" is that profile's canonical."""

_DATA = Path(__file__).resolve().parent.parent / "_data"
_own = Package.open(_DATA / "package")
_registry = Definitions(Pack(_DATA / "r4.zip"), (_own,), TerminologyPack(_DATA / "terminology.zip"))


def registry() -> Definitions:
    """The definitions that this process works with."""
    return _registry


def generation() -> int:
    """Rises with every `load_package`, so that callers who cache what they compiled can compare it."""
    return _registry.generation


def resource_types() -> tuple[str, ...]:
    """The concrete resource types of R4 (4.0.1), sorted."""
    return _registry.resource_types


def is_resource_type(name: object) -> bool:
    """Whether R4 has a concrete resource type of that name."""
    return isinstance(name, str) and name in _registry.resource_type_names


def structure(url_or_name: str) -> Json:
    """The StructureDefinition, with snapshot, of "Patient", "HumanName" or a full canonical.

    A |version is ignored. A profile that has only a differential gets its snapshot here. Raises
    UnknownDefinition, also when no snapshot can be made.
    """
    return _registry.structure(url_or_name)


def has_structure(url: str) -> bool:
    """Whether `structure` would find it."""
    return _registry.has_structure(url)


def misfit(definition: Json) -> str:
    """How a profile's differential does not fit its base, as half a sentence; "" if nothing is known."""
    return snapshots.misfit(definition, _registry.structure)


def resource(resource_type: str, url: str) -> Json | None:
    """A conformance resource of a package, such as a Questionnaire, by canonical; None if not held."""
    return _registry.resource(resource_type, url)


def profile_url(name: str) -> str:
    """The canonical of a profile: "coproduction-goal" is short for ours of that id, anything else stays."""
    if not isinstance(name, str):
        raise TypeError(
            "A profile is named by its canonical, or of ours by its id; "
            "a profile class says it by `profile_url()`."
        )
    ours = PROFILE + name
    return ours if ":" not in name and ours in _own.by_url else name


def value_set(url: str) -> Mapping[str, frozenset[str]] | None:
    """System → codes, when the whole value set can be listed offline; None otherwise."""
    held = _registry.value_set(url)
    return held.codes if held is not None and held.enumerable else None


def value_set_content(url: str) -> ValueSet | None:
    """All that is known of a value set, even if it takes codes from systems that we do not hold."""
    return _registry.value_set(url)


def code_system(url: str) -> frozenset[str] | None:
    """Every code of a system that we hold completely, in its newest version or in R4's; None otherwise."""
    return _registry.code_system(url)


def codes_below(system: str, code: str) -> frozenset[str] | None:
    """The code and all below it; None when we do not hold the whole code system, or it lacks the code."""
    held = _registry.hierarchy(system)
    return held.below(code) if held is not None else None


def codes_above(system: str, code: str) -> frozenset[str] | None:
    """The code and all above it; None as in `codes_below`."""
    held = _registry.hierarchy(system)
    return held.above(code) if held is not None else None


def editions(url: str) -> Editions | None:
    """What is known of a code system, version by version; None when it is not held."""
    return _registry.editions(url)


def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """What the type can be searched by, by code: its own parameters, inherited ones, and our package's."""
    return _registry.search_parameters(resource_type)


def compartment(name: str = "Patient") -> Mapping[str, tuple[str, ...]]:
    """Resource type → codes of the search parameters that put a resource into the compartment."""
    return _registry.compartment(name)


def own_package() -> Package:
    """Our package."""
    return _own


def own_resources(resource_type: str | None = None) -> list[Json]:
    """The conformance resources of our package, of one type or all of them."""
    return [_own.read(entry) for entry in _own.of_type(resource_type)]


def examples() -> list[Json]:
    """The valid examples of our package."""
    return [_own.read(entry) for entry in _own.examples()]


def load_package(path: str | Path) -> Package:
    """Add the definitions of a FHIR package (.tgz, or its folder) for the rest of this process.

    From then on `fhir_coprod.validate` and the `check` of every profile class know its profiles, extensions,
    code systems and value sets. R4's own structures win over a package's, and an earlier package's over a
    later one's; of code systems and value sets the newest version wins. Packages it depends on are not
    fetched: load them too. Raises ConfigError when the file cannot be read.
    """
    package = Package.open(Path(path))
    _ = package.entries  # refuse a broken package now, not on first use
    _registry.add(package)
    return package
