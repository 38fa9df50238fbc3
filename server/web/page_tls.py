"""The page's TLS: a certificate of the server's own authority, for the names and addresses that it is reached under."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Sequence

from server.identity.authority import Authority

NAME = "waycue-server-page"
REFRESH_S = 3600.0


class PageCertificate:
    """Loaded into `context`, and renewed there by `refresh` where it ends soon or an address is new."""

    def __init__(self, authority: Authority, hosts: Callable[[], Sequence[str]]) -> None:
        """Raises: ConfigError, OSError."""
        self._authority, self._hosts = authority, hosts
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION
        self.refresh()

    def refresh(self) -> None:
        """Raises: ConfigError, OSError."""
        key, certificate = self._authority.service(NAME, hosts=self._hosts(), server_auth=True)
        self.context.load_cert_chain(certificate, key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, which people compare when they have a browser trust it."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self._authority.ca_pem.decode())).hexdigest().upper()
        return ":".join(digest[n : n + 2] for n in range(0, len(digest), 2))
