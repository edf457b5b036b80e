"""Parses, edits and writes FHIR JSON as text, so that what somebody wrote is kept byte for byte.

The bytes are the truth: a decimal `19.00`, the spelling of a date and the order of members are lost in a
round trip through a model. So a resource is parsed once for reading, and only `id`, `meta` and rewritten
references are cut into the received text when it is written.
"""

from fhir_coprod.jsontext.document import Document, content_hash, from_data, may_spell, with_references
from fhir_coprod.jsontext.elements import MAX_ELEMENTS, ElementCount, has_more_elements
from fhir_coprod.jsontext.parsing import parse, refuse_duplicate_keys
from fhir_coprod.jsontext.patching import patched
from fhir_coprod.jsontext.values import (
    ID_PATTERN,
    MAX_DEPTH,
    TOO_DEEP,
    Json,
    collected_again,
    decode,
    decode_decimals,
    encode,
)

__all__ = [
    "ID_PATTERN",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "TOO_DEEP",
    "Document",
    "ElementCount",
    "Json",
    "collected_again",
    "content_hash",
    "decode",
    "decode_decimals",
    "encode",
    "from_data",
    "has_more_elements",
    "may_spell",
    "parse",
    "patched",
    "refuse_duplicate_keys",
    "with_references",
]
