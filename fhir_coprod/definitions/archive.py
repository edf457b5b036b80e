"""Writes a FHIR package as a .tgz, as its specification says (https://hl7.org/fhir/packages.html)."""

from __future__ import annotations

import gzip
import io
import tarfile

from fhir_coprod.definitions.package import Package


def archive(package: Package) -> bytes:
    """The package as a .tgz with a folder package/; the same files give the same bytes."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, raw in package.files():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()
