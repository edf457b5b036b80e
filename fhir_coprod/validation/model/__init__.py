"""What a StructureDefinition compiles to."""
