"""Publishes our own StructureDefinitions, ValueSets and so on as resources that can be read and searched."""

from __future__ import annotations

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import Unwritable
from fhir_coprod.store import Store, Transaction

SOURCE = "package"
"""`Version.source` of resources that come from the package and not from a client."""


def publish(store: Store) -> int:
    """Put the package's conformance resources into the store; returns how many were new or had changed.

    Runs at every start: an unchanged resource gets no new version. Clients cannot change them
    (`fhir_coprod.api.interactions.allowed`).
    """
    documents = [jsontext.from_data(resource) for resource in definitions.own_resources()]

    def work(transaction: Transaction) -> int:
        written = [transaction.put(document, document.data["id"], source=SOURCE) for document in documents]
        return sum(each.change != "unchanged" for each in written)

    try:
        return store.write(work)
    except Unwritable:
        return 0  # what can be read is served all the same; /health says what is the matter
