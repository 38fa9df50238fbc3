"""What a server needs to speak to its broker over TLS: made once at start, from the authority and the database."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from server.broker import dynsec_rules
from server.broker import files as broker_files
from server.broker.admission import Door, Enrolled
from server.broker.dynsec_client import AccessLink
from server.identity.certificates import Certificates
from server.identity.enrol_http import EnrolmentService


@dataclass(frozen=True, slots=True)
class Secured:
    """context: for the server's own link; enrolled: whose messages it handles; enrolling: where devices are let in."""

    context: ssl.SSLContext
    enrolled: Enrolled
    certificates: Certificates
    door: Door
    enrolling: EnrolmentService | None = None

    def start(self) -> None:
        """Let devices in, and look after the broker. Raises: ConfigError where the port of enrolments is taken."""
        if self.enrolling is not None:
            self.enrolling.start()
        self.door.start()

    def stop(self) -> None:
        """The other way round. Idempotent."""
        if self.enrolling is not None:
            self.enrolling.stop()
        self.door.stop()


def secured(
    home: Path,
    certificates: Certificates,
    *,
    host: str,
    port: int,
    folder: str = "",
    reload: str = "",
    own_rules: bool = True,
) -> Secured:
    """folder: the broker's files, "" = `<home>/broker`. own_rules: the broker is a Mosquitto, and we keep its rules.

    raises: ConfigError where the home has no authority, or its keys are open to others; OSError
    """
    authority = certificates.authority
    contexts = {dynsec_rules.SERVER: authority.client_context(dynsec_rules.SERVER)}
    link = None
    if own_rules:
        contexts[dynsec_rules.CONTROLLER] = authority.client_context(dynsec_rules.CONTROLLER)
        link = AccessLink(host, port, tls=contexts[dynsec_rules.CONTROLLER], clock=certificates.clock)
    files = Path(folder).expanduser() if folder else home / broker_files.FOLDER
    door = Door(certificates, link, folder=files, reload=reload, contexts=contexts)
    return Secured(contexts[dynsec_rules.SERVER], Enrolled(certificates), certificates, door)
