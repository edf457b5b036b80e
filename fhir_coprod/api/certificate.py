"""The certificate of this server: tried before the start, and taken anew when its files change."""

from __future__ import annotations

import logging
import ssl

from fhir_coprod.access_settings import ServerTlsSettings
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import Settings

log = logging.getLogger("fhir_coprod.api")

_DAY = 86_400


class Certificate:
    """The files of the settings."""

    def __init__(self, settings: ServerTlsSettings) -> None:
        self._settings = settings
        self._seen = self._state()

    def require(self) -> None:
        """Raise ConfigError if the files cannot be used."""
        if self._settings.certificate_file is not None:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def use(self, context: ssl.SSLContext | None) -> None:
        """Prepare the context that the server listens with: TLS 1.2 or newer."""
        if context is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1_2

    def renew(self, context: ssl.SSLContext | None) -> None:
        """Take the certificate anew if its files have changed; open connections keep the old."""
        state = self._state()
        if context is None or state == self._seen:
            return
        self._seen = state
        try:
            self.require()
            self._load(context)
        except ConfigError as error:
            log.error("the certificate stays the old one: %s", error)
            return
        log.info("took a new certificate from %s", self._settings.certificate_file)

    def _load(self, context: ssl.SSLContext) -> None:
        file = self._settings.certificate_file
        assert file is not None
        try:
            context.load_cert_chain(file, self._settings.key_file, password=lambda: b"")
        except OSError:  # an SSLError is one
            raise ConfigError(
                f"tls.certificate_file: {file} and its key cannot be used; both must be PEM, fit each "
                "other, and have no password."
            ) from None

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for file in (self._settings.certificate_file, self._settings.key_file):
            try:
                said = file.stat() if file is not None else None
            except OSError:
                said = None
            found.append((said.st_mtime_ns, said.st_size, said.st_ino) if said else (0, 0, 0))
        return tuple(found)


def hsts(settings: Settings) -> list[tuple[str, str]]:
    """The header by which browsers come by https only, if they reach us so."""
    is_https = settings.tls.certificate_file is not None or settings.site.base_url.startswith("https:")
    if not is_https or not settings.tls.hsts_days:
        return []
    return [("strict-transport-security", f"max-age={settings.tls.hsts_days * _DAY}")]
