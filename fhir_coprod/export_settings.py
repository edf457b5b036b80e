"""Settings of what other programs take out and bring in as a whole: `$export` and `$import`."""

from __future__ import annotations

from pydantic import Field

from fhir_coprod.accounts import Section


class ExportSettings(Section):
    """How much is given out and taken in as a whole, and for how long it is kept."""

    folder: str = ""
    """Folder for the files of exports and imports; empty: beside the SQLite store, else the data folder.
    Where several machines serve one store, all have to see the same folder."""
    hours: float = Field(default=24.0, gt=0, le=8760)
    """Hours for which the files of an export can be fetched, and the result of an import be read."""
    jobs: int = Field(default=20, ge=0)
    """How many exports and imports are kept, those that are done included; 0: there are none."""
    jobs_per_client: int = Field(default=5, ge=1)
    """The same for one client."""
    spare_bytes: int = Field(default=1_000_000_000, ge=0)
    """An export or import ends rather than leave less room than this on the disk of its folder."""
    import_bytes: int = Field(default=2_000_000_000, gt=0)
    """The longest body of an `$import`, as it is sent."""
