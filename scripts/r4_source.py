"""Fetches FHIR R4 (4.0.1) as HL7 published it from Maven Central, and turns it from XML into JSON.

HL7's own Java validator uses the same artefact, so that our definitions and its verdicts start from the same
text. (The npm packages with R4 have been edited: extra elements in Meta, EvidenceVariable and
DeviceDefinition of later versions, other invariants.)
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from node_tools import CACHE

Json = dict[str, Any]

VERSION = "8.2.0"
ARTEFACT = f"ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4:{VERSION}"
_MODEL = "org/hl7/fhir/r4/model/"
_FHIR = "{http://hl7.org/fhir}"


def jar() -> Path:
    """The artefact in .cache/maven/; Maven downloads it if it is missing."""
    folder = CACHE / "maven"
    file = folder / f"hapi-fhir-validation-resources-r4-{VERSION}.jar"
    if not file.exists():
        maven = shutil.which("mvn")
        if maven is None:
            sys.exit("This needs Maven (mvn) and Java 17; install them and run it again.")
        subprocess.run(
            [maven, "-q", "-B", "dependency:copy", f"-Dartifact={ARTEFACT}", f"-DoutputDirectory={folder}"],
            check=True,
        )
    return file


class R4:
    """The bundles of the artefact, by name: profiles-types, profiles-resources, valuesets and so on."""

    BUNDLES = {
        "profiles-types": "profile/profiles-types.xml",
        "profiles-resources": "profile/profiles-resources.xml",
        "profiles-others": "profile/profiles-others.xml",
        "extension-definitions": "extension/extension-definitions.xml",
        "search-parameters": "sp/search-parameters.json",
        "valuesets": "valueset/valuesets.xml",
        "v2-tables": "valueset/v2-tables.xml",
        "v3-codesystems": "valueset/v3-codesystems.xml",
    }

    def __init__(self) -> None:
        self._jar = zipfile.ZipFile(jar())
        roots = [self._xml(name) for name in ("profiles-types", "profiles-resources")]
        self._reader = XmlReader(roots)

    def _xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self._jar.read(_MODEL + self.BUNDLES[name]))

    def resources(self, name: str) -> Iterator[Json]:
        """Every resource of a bundle, without narratives."""
        if self.BUNDLES[name].endswith(".json"):
            for entry in json.loads(self._jar.read(_MODEL + self.BUNDLES[name]))["entry"]:
                yield {key: value for key, value in entry["resource"].items() if key != "text"}
            return
        for entry in self._xml(name).iter(f"{_FHIR}entry"):
            for resource in entry.findall(f"{_FHIR}resource/*"):
                yield self._reader.resource(resource)


class XmlReader:
    """FHIR XML → FHIR JSON, by the types and cardinalities that the StructureDefinitions themselves state."""

    def __init__(self, bundles: list[ElementTree.Element]) -> None:
        self._members: dict[str, dict[str, tuple[bool, str]]] = {}
        for bundle in bundles:
            for structure in bundle.iter(f"{_FHIR}StructureDefinition"):
                if _value(structure, "derivation") != "constraint":
                    self._learn(structure)

    def _learn(self, structure: ElementTree.Element) -> None:
        """What each path may contain: name → (is it a list, the path or type that its content follows)."""
        snapshot = structure.find(f"{_FHIR}snapshot")
        for element in snapshot if snapshot is not None else ():
            path = _value(element, "path")
            parent, _, name = path.rpartition(".")
            if not parent:
                continue
            repeats = _value(element, "max") != "1"
            types = [_value(type_, "code") for type_ in element.findall(f"{_FHIR}type")]
            reference = _value(element, "contentReference")
            members = self._members.setdefault(parent, {})
            if reference:
                members[name] = (repeats, reference.lstrip("#"))
            elif name.endswith("[x]"):
                for type_ in types:
                    members[name[:-3] + type_[:1].upper() + type_[1:]] = (repeats, type_)
            elif types and types[0] in ("BackboneElement", "Element"):
                members[name] = (repeats, path)
            else:
                members[name] = (repeats, types[0] if types else "")

    def resource(self, element: ElementTree.Element) -> Json:
        name = element.tag.removeprefix(_FHIR)
        return {"resourceType": name} | self._complex(element, name)

    def _complex(self, element: ElementTree.Element, path: str) -> Json:
        found: Json = {key: element.get(key) for key in ("id", "url") if element.get(key) is not None}
        members = self._members[path]
        for child in element:
            name = child.tag.removeprefix(_FHIR)
            repeats, type_ = members[name]
            if type_ == "Narrative":
                continue
            if type_ == "Resource":
                value: Any = self.resource(child[0])
                extra: Json = {}
            elif type_[:1].islower() or type_.startswith("http://hl7.org/fhirpath/"):
                value, extra = _primitive(child, type_), self._extra(child)
            else:
                value, extra = self._complex(child, type_), {}
            if repeats:
                found.setdefault(name, []).append(value)
                if extra:
                    found.setdefault(f"_{name}", []).append(extra)
            else:
                if value is not None:
                    found[name] = value
                if extra:
                    found[f"_{name}"] = extra
        return found

    def _extra(self, element: ElementTree.Element) -> Json:
        """The id and extensions of a primitive."""
        found: Json = {"id": element.get("id")} if element.get("id") else {}
        extensions = [self._complex(child, "Extension") for child in element]
        return found | ({"extension": extensions} if extensions else {})


def _primitive(element: ElementTree.Element, type_: str) -> Any:
    text = element.get("value")
    if text is None:
        return None
    if type_ == "boolean":
        return text == "true"
    if type_ in ("integer", "positiveInt", "unsignedInt"):
        return int(text)
    if type_ == "decimal":
        return float(text)
    return text


def _value(element: ElementTree.Element, name: str) -> str:
    child = element.find(f"{_FHIR}{name}")
    return "" if child is None else child.get("value", "")
