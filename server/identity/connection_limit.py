"""A listening socket that strangers may reach: it bounds how many of them hold how much of this process, and how long.

Promises, from the accept on, with the TLS handshake (which asyncio gives a minute, before any server sees it):

1. At most `most` connections are open, at most `most_each` of them from one address; where one more comes, the
   oldest gives way. So whoever only holds places holds none that somebody else wants.
2. One that is older than `life_s` is ended when the next one comes, whatever it does: nothing, or a byte a second.

It is an ordinary socket to asyncio's own event loop, which calls `accept` on its thread; uvloop does not call it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Any

from shared.clock import Clock


class Gate(socket.socket):
    """Made of a listening socket, which is taken over. One thread."""

    def __init__(self, listener: socket.socket, *, clock: Clock, most: int, most_each: int, life_s: float) -> None:
        super().__init__(fileno=listener.detach())
        self._clock, self._most, self._most_each, self._life_s = clock, most, most_each, life_s
        self._guests: dict[socket.socket, tuple[str, float]] = {}
        """Connection → whose, and since when; the oldest first."""

    def accept(self) -> tuple[socket.socket, Any]:
        """As the library's, but others may be ended for it. Raises: OSError."""
        connection, address = super().accept()
        who, now_s = network_of(str(address[0])), self._clock.monotonic_s()
        self._guests = {guest: entry for guest, entry in self._guests.items() if guest.fileno() >= 0}  # else closed
        for guest, (_, since_s) in list(self._guests.items()):
            if now_s - since_s > self._life_s:
                self._end(guest)
        own = [guest for guest, (whose, _) in self._guests.items() if whose == who]
        if len(own) >= self._most_each:
            self._end(own[0])
        elif len(self._guests) >= self._most:
            self._end(next(iter(self._guests)))
        self._guests[connection] = (who, now_s)
        return connection, address

    def _end(self, guest: socket.socket) -> None:
        """Whoever reads from it finds its end, and closes it."""
        del self._guests[guest]
        with contextlib.suppress(OSError):  # it ended by itself meanwhile
            guest.shutdown(socket.SHUT_RDWR)


def network_of(address: str) -> str:
    """An IPv6 address stands for its /64: one household has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
