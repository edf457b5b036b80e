"""`fhir-coprod package`: our FHIR package as a file for other tools."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from fhir_coprod.cli.common import print_json, stdout
from fhir_coprod.cli.options import ConfigOption, JsonOption
from fhir_coprod.errors import ConfigError, readable


def package(
    out: Annotated[
        Path,
        typer.Argument(help="The file to write, such as fhir-coprod.ig.tgz; it must not exist yet."),
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Write our FHIR package (profiles, codes, search parameters, examples) for other tools.

    A .tgz as the FHIR registry has them: HL7's validator, HAPI FHIR and npm's fhir-package-loader load it.
    The same version always gives the same bytes.
    """
    del config  # every command takes it, but the package has no settings
    from fhir_coprod import definitions, jsontext
    from fhir_coprod.definitions.archive import archive

    ours = definitions.own_package()
    told = jsontext.decode(dict(ours.files())["package.json"])
    raw = archive(ours)
    _write(out, raw, f"{told['name']}-{told['version']}.tgz")
    counts = {"definitions": len(list(ours.of_type())), "examples": len(list(ours.examples()))}
    if json:
        named = {key: told[key] for key in ("name", "version", "fhirVersions")}
        digest = sha256(raw).hexdigest()
        print_json({"out": str(out), **named, **counts, "bytes": len(raw), "sha256": digest})
        return
    stdout.print(
        f"{told['name']} {told['version']} for FHIR {told['fhirVersions'][0]} in {readable(out)}: "
        f"{counts['definitions']} definitions, {counts['examples']} examples, {len(raw) / 1000:,.0f} kB.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _write(out: Path, raw: bytes, name: str) -> None:
    """Write a new file, whole or not at all. Raises ConfigError."""
    if out.is_dir():
        raise ConfigError(f"{readable(out)} is a folder; name a file in it, such as {readable(out / name)}.")
    try:
        file = out.open("xb")
    except FileExistsError:
        raise ConfigError(f"{readable(out)} exists already; name another file, or remove it.") from None
    except (OSError, ValueError) as error:
        raise _unwritable(out, error) from None
    try:
        with file:
            file.write(raw)
    except OSError as error:
        out.unlink(missing_ok=True)
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or "no name of a file"
    return ConfigError(f"{readable(out)} cannot be written ({reason}); name another file.")
