"""The International Patient Summary of HL7: a FHIR package that nobody here wrote."""

from __future__ import annotations

from tests.peers.hl7packages import IPS

FILE, PEER = IPS.file, IPS.peer
CANONICAL = "http://hl7.org/fhir/uv/ips/StructureDefinition/"
