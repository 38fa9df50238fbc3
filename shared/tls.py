"""TLS between devices, server and broker: a context that knows whom it wants to meet, by role and not by address.

Promises:

1. The peer must hold a certificate of our own CA, good for a TLS server, with its role (`broker`) as DNS name.
   The address does not matter: at home it changes with every new router, and only our CA gives that name away.
2. With `now_s`, OpenSSL does not look at the time: a Pi starts in 1970 or in the past. The peer's notAfter is then held
   against `now_s` (a clock floor) after the handshake; notBefore is not, for a floor may lie in the past.
3. Why the peer ended the connection (`certificate revoked`) stays readable as the socket's `alert`: in TLS 1.3 it comes
   after the handshake, where the caller would only see a lost connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

BROKER = "broker"
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, openssl/x509_vfy.h; Python has no name for it


_NO_ALERT = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLZeroReturnError, ssl.SSLEOFError)


class RoleContext(ssl.SSLContext):
    """A client's context whose handshakes all ask for `role`, whatever host they were told."""

    role: str = BROKER
    now_s: Callable[[], float] | None = None

    def wrap_socket(  # type: ignore[override]  # the library's own signature, without what only servers use
        self, sock: socket.socket, *, server_hostname: str | bytes | None = None, do_handshake_on_connect: bool = True
    ) -> ssl.SSLSocket:
        del server_hostname  # promise 1
        return super().wrap_socket(sock, server_hostname=self.role, do_handshake_on_connect=do_handshake_on_connect)


class RoleSocket(ssl.SSLSocket):
    """The library's socket with promises 2 and 3."""

    alert: str = ""

    def do_handshake(self, block: bool = False) -> None:
        """Raises: OSError (ssl.SSLError included) where the peer is not who we want."""
        super().do_handshake(block)
        context = self.context
        if isinstance(context, RoleContext) and context.now_s is not None:
            refuse_expired(self.getpeercert(), context.now_s())

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except (ssl.SSLEOFError, ConnectionError):
            with contextlib.suppress(OSError):  # why the peer hung up may lie there unread
                self.recv(1)
            raise
        except ssl.SSLError as error:
            self._note(error)
            raise

    def _note(self, error: ssl.SSLError) -> None:
        if not isinstance(error, _NO_ALERT):
            self.alert = self.alert or alert_text(error)


RoleContext.sslsocket_class = RoleSocket


def client_context(
    *, ca_pem: str, certificate: Path, key: Path, role: str = BROKER, now_s: Callable[[], float] | None = None
) -> RoleContext:
    """Mutual TLS 1.2 or newer. now_s: UTC now, where the machine's own clock is not to be trusted.

    raises: OSError (ssl.SSLError included) for files that are missing or do not belong together
    """
    context = RoleContext(ssl.PROTOCOL_TLS_CLIENT)
    context.role, context.now_s = role, now_s
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if now_s is not None:
        context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    context.load_verify_locations(cadata=ca_pem)
    context.load_cert_chain(certificate, key)
    return context


def refuse_expired(peer: Any, now_s: float) -> None:
    """peer: as from getpeercert(). Raises: ssl.SSLCertVerificationError where it ended before `now_s`."""
    ends_s = ssl.cert_time_to_seconds(peer["notAfter"]) if peer else 0
    if ends_s < now_s:
        raise ssl.SSLCertVerificationError(f"the certificate of the {BROKER} has expired: renew it on the server")


def alert_text(error: ssl.SSLError) -> str:
    """What a TLS alert says, in words: "certificate revoked"; "" = it says nothing."""
    reason = (error.reason or "").upper()
    for word in ("SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "SSL_"):
        reason = reason.removeprefix(word)
    return reason.replace("_", " ").lower()
