"""The model that a StructureDefinition compiles to."""
