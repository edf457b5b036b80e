"""The route table: all routes under /fhir in one list, the source of CapabilityStatement and OpenAPI."""

from __future__ import annotations

from fhir_coprod.api.endpoint import Interaction
from fhir_coprod.api.interactions import (
    asynchronous,
    capability,
    everything,
    exports,
    imports,
    operations,
    reading,
    standing,
    transaction,
    writing,
)

_TYPE, _ID = "{type:fhir_type}", "{id:fhir_id}"
_OWNER, _MEMBER = "{owner:fhir_owner}", "{member:fhir_member}"

_search, _history = asynchronous.later(reading.search), asynchronous.later(reading.history)
_everything = asynchronous.later(everything.everything)

# The most frequent come first: they are matched in this order.
TABLE: tuple[Interaction, ...] = (
    Interaction("read", ("GET",), f"/{_TYPE}/{_ID}", reading.read),
    Interaction("capabilities", ("GET",), "/metadata", capability.metadata),
    Interaction("search-type", ("GET",), f"/{_TYPE}", _search),
    Interaction("create", ("POST",), f"/{_TYPE}", writing.write),
    Interaction("update", ("PUT",), f"/{_TYPE}/{_ID}", writing.write),
    Interaction("transaction", ("POST",), "", transaction.post_bundle),
    Interaction("search-type", ("POST",), f"/{_TYPE}/_search", _search),
    Interaction("patch", ("PATCH",), f"/{_TYPE}/{_ID}", writing.write),
    Interaction("delete", ("DELETE",), f"/{_TYPE}/{_ID}", writing.write),
    Interaction("update", ("PUT",), f"/{_TYPE}", writing.write),
    Interaction("patch", ("PATCH",), f"/{_TYPE}", writing.write),
    Interaction("delete", ("DELETE",), f"/{_TYPE}", writing.write),
    Interaction("vread", ("GET",), f"/{_TYPE}/{_ID}/_history/{{version}}", reading.vread),
    Interaction("history-instance", ("GET",), f"/{_TYPE}/{_ID}/_history", _history),
    Interaction("history-type", ("GET",), f"/{_TYPE}/_history", _history),
    Interaction("history-system", ("GET",), "/_history", _history),
    Interaction("search-type", ("GET",), f"/{_OWNER}/{_ID}/{_MEMBER}", _search),
    Interaction("search-type", ("POST",), f"/{_OWNER}/{_ID}/{_MEMBER}/_search", _search),
    Interaction("search-system", ("GET",), "", _search),
    Interaction("search-system", ("POST",), "/_search", _search),
    Interaction("async-status", ("GET",), f"/_async/{_ID}", asynchronous.status),
    Interaction("async-cancel", ("DELETE",), f"/_async/{_ID}", asynchronous.cancel),
    Interaction("$export", ("GET", "POST"), "/$export", exports.export),
    Interaction("$export", ("GET", "POST"), "/{type:fhir_patient}/$export", exports.export),
    Interaction("$export", ("GET", "POST"), f"/{{type:fhir_group}}/{_ID}/$export", exports.export),
    Interaction("export-status", ("GET",), f"/_export/{_ID}", exports.status),
    Interaction("export-cancel", ("DELETE",), f"/_export/{_ID}", exports.cancel),
    Interaction("export-file", ("GET",), f"/_export/{_ID}/{{file:fhir_file}}", exports.file, is_file=True),
    Interaction("$import", ("POST",), "/$import", imports.import_, takes_file=True),
    Interaction("import-status", ("GET",), f"/_import/{_ID}", imports.status),
    Interaction("import-cancel", ("DELETE",), f"/_import/{_ID}", imports.cancel),
    Interaction("import-file", ("GET",), f"/_import/{_ID}/{{file:fhir_file}}", imports.file, is_file=True),
    Interaction("$validate", ("POST",), "/$validate", operations.validate),
    Interaction("$validate", ("POST",), f"/{_TYPE}/$validate", operations.validate),
    Interaction("$validate", ("GET", "POST"), f"/{_TYPE}/{_ID}/$validate", operations.validate),
    Interaction("$everything", ("GET", "POST"), f"/{{type:fhir_patient}}/{_ID}/$everything", _everything),
    Interaction("$standing", ("GET", "POST"), f"/{{type:fhir_referral}}/{_ID}/$standing", standing.standing),
)
