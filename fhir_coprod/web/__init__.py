"""The web pages for staff: plain HTML that prints well and needs no script."""

from fhir_coprod.web.pages import routes

__all__ = ["routes"]
