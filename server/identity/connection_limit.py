"""A listening socket that strangers can reach: it bounds the number of their connections, and how long each lives.

Promises, from the accept on, with the TLS handshake (which asyncio gives a minute, before any server sees it):

1. At most `most` connections are open, at most `most_each` of them from one address; where one more comes, the
   oldest is evicted, of those that are not busy where there is one. So idle connections never keep another out.
2. One that is older than `life_s` and not busy is evicted when the next one comes, whatever is sent on it.

It is an ordinary socket to asyncio's own event loop, which calls `accept` on its thread; uvloop does not call it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from shared.clock import Clock


class LimitedListener(socket.socket):
    """Made of a listening socket, which it takes over. One thread."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        clock: Clock,
        most: int,
        most_each: int,
        life_s: float,
        busy: Callable[[int], bool] = lambda _number: False,
    ) -> None:
        """busy(file descriptor): whether a request is being answered on that connection"""
        super().__init__(fileno=listener.detach())
        self._busy = busy
        self._clock, self._most, self._most_each, self._life_s = clock, most, most_each, life_s
        self._peers: dict[socket.socket, tuple[str, float]] = {}
        """Connection → its network and the time of its accept; the oldest first."""

    def accept(self) -> tuple[socket.socket, Any]:
        """As the library's, but others may be evicted for it. Raises: OSError."""
        connection, address = super().accept()
        network, now_s = network_of(str(address[0])), self._clock.monotonic_s()
        self._peers = {peer: entry for peer, entry in self._peers.items() if peer.fileno() >= 0}  # others were closed
        for peer, (_, since_s) in list(self._peers.items()):
            if now_s - since_s > self._life_s and not self._busy(peer.fileno()):
                self._evict(peer)
        neighbours = [peer for peer, (of_peer, _) in self._peers.items() if of_peer == network]
        if len(neighbours) >= self._most_each:
            self._evict(self._first(neighbours))
        elif len(self._peers) >= self._most:
            self._evict(self._first(list(self._peers)))
        self._peers[connection] = (network, now_s)
        return connection, address

    def _first(self, peers: Sequence[socket.socket]) -> socket.socket:
        """The oldest that is not busy, or the oldest where all are. peers: the oldest first"""
        return next((peer for peer in peers if not self._busy(peer.fileno())), peers[0])

    def _evict(self, peer: socket.socket) -> None:
        """Its reader gets an end of file, and closes it."""
        del self._peers[peer]
        with contextlib.suppress(OSError):  # it ended by itself meanwhile
            peer.shutdown(socket.SHUT_RDWR)


def network_of(address: str) -> str:
    """An IPv6 address stands for its /64: one household has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
