"""FHIR JSON as text that is kept, not only as values.

Bytes are the truth: a decimal `19.00`, the spelling of a date and the order of members are what somebody
wrote, and a model round trip loses them. So a resource is parsed once to look at, and written by cutting
only `id`, `meta` and rewritten references into the text that came.
"""

from fhir_coprod.jsontext.document import Document, content_hash, from_data
from fhir_coprod.jsontext.parsing import parse, refuse_duplicate_keys
from fhir_coprod.jsontext.patching import patched
from fhir_coprod.jsontext.values import ID_PATTERN, MAX_DEPTH, Json, decode, encode

__all__ = [
    "ID_PATTERN",
    "MAX_DEPTH",
    "Document",
    "Json",
    "content_hash",
    "decode",
    "encode",
    "from_data",
    "parse",
    "patched",
    "refuse_duplicate_keys",
]
