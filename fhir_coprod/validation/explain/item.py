"""One value inside a resource, with its path."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_coprod.validation.model.content import Field


@dataclass(slots=True)
class Item:
    """One value of a member."""

    value: object
    """None when there is only an extension."""
    below: object
    """For a primitive: the object under `_name`, else None."""
    type: str
    at: str
    """FHIRPath location."""
    field: Field | None = None
    """What its owner's definition says about it; None for a resource at the top."""
    owner: Item | None = None
    beside: object = None
    """For an object under `_name`: the primitive's own value."""

    def beneath(self) -> Item:
        """The object under `_name`, as the owner of its extensions."""
        return Item(self.below, None, self.type, self.at, self.field, self.owner, self.value)

    def paths(self) -> set[str]:
        """The element paths that name it: Patient.contact.name.family is also HumanName.family, and
        Questionnaire.item.item, which repeats it, is also Questionnaire.item.
        """
        if self.field is None or self.owner is None:
            return {self.type}
        own = self.field.path.replace("[x]", "")
        content = self.field.by_type.get(self.type)
        paths = {own} if content is None else {own, content.path.replace("[x]", "")}
        if own.partition(".")[0] == self.owner.type and self.owner.field is not None:
            paths |= {f"{path}.{self.field.name}" for path in self.owner.paths()}
        return paths
