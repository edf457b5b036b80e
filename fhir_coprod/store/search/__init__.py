"""Search: turns a query string into SQL and pages of results."""
