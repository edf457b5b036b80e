"""Searches: from a query string to SQL and its pages."""
