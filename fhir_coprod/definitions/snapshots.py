"""Makes the snapshot of a profile from its differential (https://hl7.org/fhir/R4/profiling.html#snapshot).

The base's snapshot becomes a tree; the differential changes its nodes, unfolds datatypes where it goes into
them, and adds slices; the tree is written down again. What decides a validation is made: cardinality, types,
fixed values, patterns, limits, bindings, rules, slicing. Texts for readers come along where they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field

from fhir_coprod.definitions.terminology import bare
from fhir_coprod.errors import UnknownDefinition
from fhir_coprod.jsontext import Json

Find = Callable[[str], Json]
"""The StructureDefinition, with snapshot, of a canonical or a type's name; raises when there is none."""

BY_URL: Json = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
BY_TYPE: Json = {"discriminator": [{"type": "type", "path": "$this"}], "rules": "open"}
_EXTENSIONS = ("extension", "modifierExtension")
_STATED = ("fixed", "pattern", "minValue", "maxValue", "defaultValue")
_NOT_INHERITED = ("id", "path", "sliceName", "slicing", "sliceIsConstraining")
MOST_BASES = 50
"""So many profiles without snapshots may be derived from each other; real ones are three or four."""
_MALFORMED = (LookupError, TypeError, AttributeError, ValueError)
"""What comes of a definition that does not have the form that R4 prescribes."""
_making: ContextVar[tuple[str, ...]] = ContextVar("making", default=())
"""The profiles whose snapshots are being made, each for the one before it."""


class _DoesNotFit(Exception):
    """The differential does not fit its base; says how."""


@dataclass(slots=True, eq=False)
class _Node:
    """One element of the tree."""

    name: str
    """The last part of the path, a choice with its [x]."""
    element: Json
    slice_name: str = ""
    children: dict[str, _Node] = field(default_factory=dict)
    slices: dict[str, _Node] = field(default_factory=dict)

    def copied(self, *, slices: bool = True) -> _Node:
        """A copy with everything below; the elements are shared until somebody replaces one.

        slices: False for a copy without its own slices, which may be thousands
        """
        made = copy(self)
        made.children = {name: child.copied() for name, child in self.children.items()}
        made.slices = {name: part.copied() for name, part in self.slices.items()} if slices else {}
        return made


def with_snapshot(definition: Json, find: Find) -> Json:
    """The definition with the snapshot that its differential comes to. Raises UnknownDefinition."""
    url = str(definition.get("url") or "")
    around = _making.get()
    if url in around:
        raise UnknownDefinition(f"The StructureDefinition {url} is derived from itself; correct it.")
    if len(around) == MOST_BASES:
        raise UnknownDefinition(f"More than {MOST_BASES} profiles are derived from {url}; build snapshots.")
    token = _making.set((*around, url))
    try:
        return {**definition, "snapshot": {"element": _elements(definition, find)}}
    except UnknownDefinition as error:
        why = error.message
    except _DoesNotFit as error:
        why = f"{error}; correct it, or load a package built with snapshots."
    except _MALFORMED as error:
        why = f"it is not as R4 has it ({type(error).__name__}: {error}); build its package again for R4."
    finally:
        _making.reset(token)
    raise UnknownDefinition(f"The StructureDefinition {url} has no snapshot, and none can be made: {why}")


def misfit(definition: Json, find: Find) -> str:
    """How a differential does not fit its base, as half a sentence; "" when it does, or nobody can tell."""
    try:
        _elements(definition, find)
    except _DoesNotFit as error:
        return str(error)
    except (UnknownDefinition, *_MALFORMED):
        pass
    return ""


def _elements(definition: Json, find: Find) -> list[Json]:
    if "baseDefinition" not in definition:
        raise _DoesNotFit("it defines a type of its own")
    if "differential" not in definition:
        raise _DoesNotFit("it has no differential either (sdf-6)")
    base = find(bare(definition["baseDefinition"]))
    if base.get("type") != definition.get("type"):
        if definition.get("derivation") != "constraint":
            raise _DoesNotFit("it defines a type of its own")
        raise _DoesNotFit(f"its base is for {base.get('type')} and not for {definition.get('type')}")
    maker = _Maker(base["snapshot"]["element"], find)
    known: dict[str, str] = {}
    for element in definition["differential"]["element"]:
        maker.put(element, _segments(element, known))
    return list(_flat(maker.root, "", ""))


def _segments(element: Json, known: dict[str, str]) -> list[str]:
    """The way to the element, such as ["Patient", "name:official", "family"]: by its id or by paths."""
    path: str = element["path"]
    identity = element.get("id")
    if not isinstance(identity, str) or _plain(identity) != path:
        # Ids are often left out or made up; a path never is.
        parent, _, name = path.rpartition(".")
        identity = f"{known.get(parent, parent)}.{name}" if parent else path
        if "sliceName" in element:
            identity += f":{element['sliceName']}"
    known[path] = identity
    return identity.split(".")


def _plain(identity: str) -> str:
    return ".".join(part.partition(":")[0] for part in identity.split("."))


class _Maker:
    """Puts the elements of a differential into the tree of the base."""

    def __init__(self, base: list[Json], find: Find) -> None:
        self.root = _tree(base)
        self.base = base
        self.find = find

    def put(self, element: Json, way: list[str]) -> None:
        node = self.root
        for number, segment in enumerate(way[1:], 2):
            node = self._step(node, segment, ".".join(way[:number]))
        for key, value in element.items():
            if key.startswith("fixed") and node.element.get(key, value) != value:
                raise _DoesNotFit(f"its base has another fixed value for {'.'.join(way)}")
        node.element = _merged(node.element, element)

    def _step(self, node: _Node, segment: str, way: str) -> _Node:
        """The child or slice that a part of an id names; unfolded or made where it is not there yet."""
        name, _, slice_name = segment.partition(":")
        child = self._child(node, name)
        if child is None:
            self._unfold(node)
            child = self._child(node, name)
        if child is None:
            return self._by_type(node, name, way)
        return self._slice(child, slice_name) if slice_name else child

    @staticmethod
    def _child(node: _Node, name: str) -> _Node | None:
        return node.children.get(name) or node.children.get(f"{name}[x]")

    def _by_type(self, node: _Node, name: str, way: str) -> _Node:
        """`valueQuantity` in the place of `value[x]`: short for its slice of that type."""
        for key, child in node.children.items():
            stem = key.removesuffix("[x]")
            if stem == key or not name.startswith(stem):
                continue
            chosen = [t for t in child.element.get("type", ()) if _upper(t["code"]) == name[len(stem) :]]
            if chosen:
                part = self._slice(child, name)
                part.element = {**part.element, "type": chosen}
                return part
        raise _DoesNotFit(f"its base has no element {way}")

    def _slice(self, sliced: _Node, name: str) -> _Node:
        """The slice of that name; `a/b` slices the slice `a`."""
        head, slash, _ = name.rpartition("/")
        if slash and (owner := sliced.slices.get(head)) is not None:
            return self._slice_of(owner, name)
        return self._slice_of(sliced, name)

    def _slice_of(self, sliced: _Node, name: str) -> _Node:
        part = sliced.slices.get(name)
        if part is None:
            if "slicing" not in sliced.element and (how := _usual_slicing(sliced.name)):
                sliced.element = {**sliced.element, "slicing": how}
            part = sliced.copied(slices=False)
            part.slice_name = name
            part.element = {key: v for key, v in sliced.element.items() if key not in _NOT_INHERITED}
            part.element["min"] = 0
            if chosen := _type_named(sliced, name):
                part.element["type"] = chosen
            sliced.slices[name] = part
        return part

    def _unfold(self, node: _Node) -> None:
        """Give an element the children that its type, its type's profile, or the element it repeats has."""
        if node.children:
            return
        if "contentReference" in node.element:
            repeated = self._at(node.element["contentReference"].rpartition("#")[2])
            node.children = {name: child.copied() for name, child in repeated.children.items()}
            kept = {key: v for key, v in node.element.items() if key != "contentReference"}
            node.element = {**kept, "type": repeated.element.get("type", [{"code": "BackboneElement"}])}
            return
        types = node.element.get("type") or []
        profiles = [p for t in types for p in t.get("profile", ())]
        codes = list(dict.fromkeys(t["code"] for t in types))
        of = (
            profiles[0]
            if len(profiles) == 1 and len(types) == 1
            else codes[0]
            if len(codes) == 1
            else "Element"
        )
        if of.startswith("http://hl7.org/fhirpath/"):
            of = "Element"
        try:
            definition = self.find(of)
        except UnknownDefinition:
            # What a profile adds is checked where it is claimed; its children are those of the type.
            definition = self.find(codes[0])
        node.children = _tree(definition["snapshot"]["element"]).children
        if of in profiles and definition.get("type") == "Extension":
            # The url of an extension is the canonical of its definition, also where that is not held.
            url = node.children["url"]
            url.element = {**url.element, "fixedUri": bare(of)}

    def _at(self, identity: str) -> _Node:
        """The element as the base has it, without what the differential has said of it."""
        node = _tree(self.base)
        for name in identity.split(".")[1:]:
            child = node.children.get(name)
            if child is None:
                raise _DoesNotFit(f"its base has no element {identity}")
            node = child
        return node


def _usual_slicing(name: str) -> Json | None:
    if name in _EXTENSIONS:
        return BY_URL
    return BY_TYPE if name.endswith("[x]") else None


def _type_named(sliced: _Node, name: str) -> list[Json]:
    """The type that a slice of a choice is named after: valueQuantity of value[x]; none if it is not."""
    stem = sliced.name.removesuffix("[x]")
    if stem == sliced.name:
        return []
    return [t for t in sliced.element.get("type", ()) if stem + _upper(t["code"]) == name]


def _upper(code: str) -> str:
    return code[:1].upper() + code[1:]


def _merged(element: Json, own: Json) -> Json:
    """What the differential says of an element, upon what the base says."""
    kept = {key: v for key, v in element.items() if not _is_replaced(key, own)}
    made = {**kept, **{key: v for key, v in own.items() if key not in ("id", "path", "sliceName")}}
    if "constraint" in own:
        keys = {rule.get("key") for rule in own["constraint"]}
        inherited = [rule for rule in element.get("constraint", ()) if rule.get("key") not in keys]
        made["constraint"] = [*inherited, *own["constraint"]]
    for key in ("binding", "slicing"):
        if key in own:
            made[key] = {**element.get(key, {}), **own[key]}
    if "base" in element:
        made["base"] = element["base"]
    return made


def _is_replaced(key: str, own: Json) -> bool:
    """Whether a stated value gives way: one of another type, or a pattern to a fixed value."""
    stem = next((stem for stem in _STATED if key.startswith(stem)), None)
    if stem is None:
        return False
    return any(other.startswith(stem) for other in own)


def _tree(elements: list[Json]) -> _Node:
    """The tree of a snapshot."""
    root = _Node(elements[0]["path"], elements[0])
    nodes = {elements[0].get("id") or elements[0]["path"]: root}
    known: dict[str, str] = {}
    for element in elements:
        way = _segments(element, known)
        if len(way) == 1:
            continue
        identity = ".".join(way)
        parent = nodes.get(".".join(way[:-1]))
        if identity in nodes or parent is None:
            continue
        name, _, slice_name = way[-1].partition(":")
        node = nodes[identity] = _Node(name, element, slice_name)
        if not slice_name:
            parent.children[name] = node
            continue
        head, slash, _ = slice_name.rpartition("/")
        sliced = parent.children.get(name)
        if sliced is not None:
            owner = sliced.slices.get(head) if slash else None
            (owner or sliced).slices[slice_name] = node
    return root


def _flat(node: _Node, parent: str, path: str) -> Iterator[Json]:
    """The elements of a tree in the order of a snapshot, with the ids and paths of their places."""
    own = f"{path}.{node.name}" if path else node.name
    identity = f"{parent}.{node.name}" if parent else node.name
    if node.slice_name:
        identity += f":{node.slice_name}"
    said = {key: v for key, v in node.element.items() if key not in ("id", "path", "sliceName")}
    name = {"sliceName": node.slice_name} if node.slice_name else {}
    yield {"id": identity, "path": own, **name, **said}
    for child in node.children.values():
        yield from _flat(child, identity, own)
    for part in node.slices.values():
        yield from _flat(part, parent, path)
