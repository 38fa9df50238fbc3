"""Ask the network who in it is a waycue server (multicast DNS). That somebody answers proves nothing: the code does."""

from __future__ import annotations

import itertools
import logging
import threading

from shared.enrolment import SERVICE

logger = logging.getLogger(__name__)

WAIT_S = 5.0
"""Answers come within a second; Wi-Fi loses some, and the question is asked again after one and three."""
MORE_S = 0.5  # for others, after the first answer
MOST = 4


def find_servers(*, wait_s: float = WAIT_S) -> tuple[str, ...]:
    """HOST:PORT each, at most MOST. Takes `wait_s` where nobody answers. Raises nothing."""
    try:
        from zeroconf import IPVersion, ServiceBrowser, Zeroconf  # only who looks pays for it

        network = Zeroconf(ip_version=IPVersion.V4Only)
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: no network at all
        logger.error("Servers cannot be looked for in this network: %s", error)
        return ()
    found: dict[str, list[str]] = {}
    some = threading.Event()

    def on_change(zeroconf: Zeroconf, service_type: str, name: str, **_more: object) -> None:
        info = zeroconf.get_service_info(service_type, name)
        addresses = info.parsed_addresses(IPVersion.V4Only) if info is not None and info.port else []
        if info is not None and addresses:
            found[name] = [f"{address}:{info.port}" for address in addresses]
            some.set()

    try:
        ServiceBrowser(network, SERVICE, handlers=[on_change])
        if some.wait(wait_s):
            threading.Event().wait(MORE_S)
    finally:
        network.close()
    in_turn = itertools.zip_longest(*list(found.values()))  # one who names many addresses does not crowd out the others
    return tuple(dict.fromkeys(server for servers in in_turn for server in servers if server is not None))[:MOST]
