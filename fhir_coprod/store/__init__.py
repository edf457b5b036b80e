"""Stores resources: their versions, one log and a search index, on SQLite or PostgreSQL.

with Store.open("sqlite:///coprod.db") as store:
    written = store.write(lambda transaction: transaction.create(jsontext.parse(raw)))
    page = store.search(Query.parse("Task", [("status", "requested"), ("_count", "20")]))
"""

from fhir_coprod.store.prepared import Prepared
from fhir_coprod.store.repository import Store
from fhir_coprod.store.search.query import Query
from fhir_coprod.store.search.run import Page
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.versions import Version, Written

__all__ = ["Page", "Prepared", "Query", "Store", "Transaction", "Version", "Written"]
