"""What a server needs to speak to its broker over TLS: made once at start, from the authority and the database."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from server.broker import dynsec_rules
from server.broker.admission import AccessSync, EnrolledDevices
from server.broker.dynsec_client import DynsecClient
from server.broker.settings import BrokerSettings
from server.identity.certificates import Certificates


@dataclass(frozen=True, slots=True)
class SecuredBroker:
    """A broker over TLS, and who may use it."""

    tls: ssl.SSLContext
    """For the server's own link."""
    enrolled: EnrolledDevices
    """Whose messages it handles."""
    certificates: Certificates
    access: AccessSync


def secured(home: Path, certificates: Certificates, settings: BrokerSettings) -> SecuredBroker:
    """The broker of these settings. Raises: ConfigError where the home's keys are open to others, OSError."""
    authority = certificates.authority
    contexts = {dynsec_rules.SERVER: authority.client_context(dynsec_rules.SERVER)}
    client = None
    if settings.access == "mosquitto":
        contexts[dynsec_rules.CONTROLLER] = authority.client_context(dynsec_rules.CONTROLLER)
        tls = contexts[dynsec_rules.CONTROLLER]
        client = DynsecClient(*settings.host_port(), tls=tls, clock=certificates.clock)
    access = AccessSync(
        certificates,
        client,
        folder=settings.files(home),
        reload=settings.reload or None,
        contexts=contexts,
        queued=settings.queued,
    )
    return SecuredBroker(contexts[dynsec_rules.SERVER], EnrolledDevices(certificates), certificates, access)
