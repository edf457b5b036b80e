"""The keys by which our own access tokens are signed: a pair for each machine, made when it is first needed.

The private half is in a file that only its owner may read, and never in the store. The public half is in the
store, so that every machine takes the tokens of the others. A key signs for ninety days; then another one
takes its place, and the old one is still taken for an hour. A row that is deleted from the store ends its key
at once: the machine then makes another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from sqlalchemy import Connection, select, true

from fhir_coprod.access.clients import tell
from fhir_coprod.errors import ConfigError
from fhir_coprod.files.placing import place
from fhir_coprod.settings import Settings, data_folder
from fhir_coprod.store import Store, Transaction, guarded
from fhir_coprod.store.schema.programs import signing_key as table

log = logging.getLogger("fhir_coprod.access")

ALGORITHM: Final = "ES384"
_CURVE: Final = "P-384"
DAYS: Final = 90
OVERLAP: Final = 3600
"""Seconds for which a key is taken after it has signed for the last time."""


@dataclass(frozen=True)
class SigningKey:
    """made: seconds since 1970"""

    key: ECKey = field(repr=False)
    made: float

    @property
    def kid(self) -> str:
        return self.key.thumbprint()


def default_file(settings: Settings) -> Path:
    """Where the private key is: `access.key_file`, else a file in the data folder for each store."""
    if settings.access.key_file is not None:
        return settings.access.key_file
    store = hashlib.sha256(settings.store.url.encode()).hexdigest()[:12]
    return data_folder() / "keys" / f"access-{store}.json"


def public_keys(connection: Connection, now: float) -> Mapping[str, ECKey]:
    """The public keys of all machines, by name; rows that are not as they were written are left out."""
    unfit = {key[0] for key in guarded.unfit(connection, table, true())}
    rows = connection.execute(select(table).where(table.c.until > round(now * 1000)))
    return {kid: ECKey.import_key(json.loads(jwk)) for kid, jwk, _ in rows if kid not in unfit}


class Signer:
    """The key of this machine. Its methods may wait for a disk, so they are called in a thread."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store = store
        self._file = file
        self._current: SigningKey | None = None

    def current(self, known: Mapping[str, ECKey]) -> SigningKey:
        """The key to sign with, which every machine knows.

        known: the public keys that are in the store

        Raises ConfigError if its file cannot be read or written.
        """
        now = time.time()
        held = self._current or self._read()
        if held is None:
            held = self._published(self._made(now), now)
        elif held.kid not in known or not held.made - 60 < now < held.made + DAYS * 86_400:
            # Another process of this machine may have replaced it already.
            newer = self._read()
            if newer is not None and newer.kid != held.kid and newer.kid in self._known():
                held = newer
            elif held.kid not in self._known() or now >= held.made + DAYS * 86_400:
                held = self._published(self._replaced(now), now)
        self._current = held
        return held

    def _known(self) -> Mapping[str, ECKey]:
        with self._store.connect() as connection:
            return public_keys(connection, time.time())

    def _read(self) -> SigningKey | None:
        try:
            said = json.loads(self._file.read_text())
            return SigningKey(ECKey.import_key(said["key"]), float(said["made"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"access.key_file: {self._file} cannot be read ({error.strerror}).") from None
        except (ValueError, KeyError, TypeError, JoseError):
            raise ConfigError(
                f"access.key_file: {self._file} holds no key that this program has made; remove it, and "
                "another is made."
            ) from None

    def _made(self, now: float) -> SigningKey:
        """A new key in a new file; of two processes that do this at once, both get the same."""
        made = SigningKey(ECKey.generate_key(_CURVE), now)
        folder = self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with NamedTemporaryFile(dir=folder, prefix=".access-") as out:  # for its owner only
                out.write(_written(made))
                out.flush()
                os.fsync(out.fileno())
                os.link(out.name, self._file)
        except FileExistsError:
            return self._read() or made
        except OSError as error:
            raise self._unwritable(error) from None
        log.info("made a key for access tokens: %s", self._file)
        return made

    def _replaced(self, now: float) -> SigningKey:
        made = SigningKey(ECKey.generate_key(_CURVE), now)
        try:
            place(self._file, _written(made))
        except OSError as error:
            raise self._unwritable(error) from None
        log.info("replaced the key for access tokens: %s", self._file)
        return made

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"access.key_file: {self._file} cannot be written ({error.strerror}); name a file in a folder of "
            "this program's own."
        )

    def _published(self, made: SigningKey, now: float) -> SigningKey:
        """Tell the other machines of it."""
        until = round((made.made + DAYS * 86_400 + OVERLAP) * 1000)
        jwk = json.dumps(made.key.as_dict(private=False), separators=(",", ":"))

        def write(transaction: Transaction) -> None:
            guarded.take(transaction.connection, table, table.c.until < round(now * 1000))
            guarded.put(transaction.connection, table, [(made.kid, jwk, until)])
            tell(transaction)

        self._store.write(write)
        return made


def _written(made: SigningKey) -> bytes:
    return json.dumps({"made": made.made, "key": made.key.as_dict(private=True)}).encode()
