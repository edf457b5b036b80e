"""Our own StructureDefinitions, ValueSets and the like as resources that anybody can read and search."""

from __future__ import annotations

from fhir_coprod import definitions, jsontext
from fhir_coprod.store import Store, Transaction

SOURCE = "package"
"""`Version.source` of what comes from the package and not from a client."""


def publish(store: Store) -> int:
    """Put the package's conformance resources into the store; how many were new or had changed.

    Done at every start: what is there already makes no version. Clients cannot change them
    (`fhir_coprod.api.interactions.allowed`).
    """
    documents = [jsontext.from_data(resource) for resource in definitions.own_resources()]

    def work(transaction: Transaction) -> int:
        written = [transaction.put(document, document.data["id"], source=SOURCE) for document in documents]
        return sum(each.change != "unchanged" for each in written)

    return store.write(work)
