"""How devices reach the place where they enrol: as `devices add` and the page tell it to them."""

from __future__ import annotations

import socket

from shared import enrolment, settings

_NOWHERE = "192.0.2.1"  # RFC 5737: routed like any other address, and nobody's; nothing is sent


def enrolment_address(given: str | None, listens_on: str) -> str:
    """HOST:PORT of the enrolment page, as devices may reach it.

    given: what a person says, None = this machine's own address; listens_on: `enrol.address`
    raises: ConfigError where one of them is no address
    """
    port = enrolment.DEFAULT_PORT
    if listens_on:
        host, port = settings.address(listens_on, what="enrol.address", default_port=port)
    if given:
        host, port = settings.address(given, what="server's address", default_port=port)
    elif not listens_on or host in ("0.0.0.0", "::"):
        host = own_address()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def own_address() -> str:
    """This machine's address in its network, or its name where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_NOWHERE, 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
    return address
