"""Says in the network that a waycue server is here (multicast DNS, RFC 6762 and 6763), for devices whose code names an
address that the server no longer has. It gives nothing away but that, and proves nothing: the claim code does."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.background import Background
from shared.enrolment import SERVICE

if TYPE_CHECKING:
    from zeroconf import Zeroconf

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
ANYWHERE = ("0.0.0.0", "::")


class Announcement:
    """From `start` to `close`, on a thread of its own; addresses that come and go are followed.

    addresses() → IPv4 addresses of this machine on which devices enrol
    """

    def __init__(self, name: str, port: int, *, addresses: Callable[[], tuple[str, ...]]) -> None:
        self._name, self._port, self._addresses = name, port, addresses
        self._announced: tuple[str, ...] = ()
        self._network: Zeroconf | None = None
        self._failed = ""
        self._rounds = Background.every(LOOK_EVERY_S, self.tick, name="announcement", at_once=True)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close()
        self._end()

    def tick(self) -> None:
        """Raises nothing: without it devices find the server by the address in their code."""
        addresses = self._addresses()
        if addresses == self._announced:
            return
        self._end()
        try:
            if addresses:
                self._network = _announced(self._name, self._port, addresses)
            self._announced, self._failed = addresses, ""
        except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: no such interface any more
            if str(error) != self._failed:
                logger.warning("This server is not announced in the network: %s", error)
            self._failed = str(error)

    def _end(self) -> None:
        network, self._network, self._announced = self._network, None, ()
        if network is not None:
            network.close()  # says goodbye


def _announced(name: str, port: int, addresses: tuple[str, ...]) -> Zeroconf:
    """Raises: ImportError, OSError."""
    import zeroconf  # only a server that is announced pays for it

    network = zeroconf.Zeroconf(interfaces=list(addresses), ip_version=zeroconf.IPVersion.V4Only)
    label, host = name[:50] or "waycue", f"{name[:50] or 'waycue'}.local."
    info = zeroconf.ServiceInfo(SERVICE, f"{label}.{SERVICE}", port=port, parsed_addresses=list(addresses), server=host)
    try:
        network.register_service(info, allow_name_change=True)
    except zeroconf.Error as error:
        network.close()
        raise OSError(str(error) or type(error).__name__) from None
    return network


def addresses_of(host: str) -> tuple[str, ...]:
    """IPv4 addresses under which a service that listens on `host` is reached from elsewhere. Raises nothing."""
    if host not in ANYWHERE:
        return (host,) if _is_reachable(host) else ()
    try:
        import ifaddr  # zeroconf's own
    except ImportError:
        return (host,)  # and `tick` says what is missing
    found = [str(address.ip) for card in ifaddr.get_adapters() for address in card.ips if address.is_IPv4]
    return tuple(sorted(address for address in found if _is_reachable(address)))


def _is_reachable(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name: who has it in a code looks it up
    return address.version == 4 and not address.is_loopback


def of_this_machine(port: int, host: str) -> Announcement:
    """Of a service that listens on `host`, under this machine's name."""
    return Announcement(socket.gethostname().partition(".")[0], port, addresses=lambda: addresses_of(host))
