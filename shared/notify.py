"""Tell systemd how a service is doing: the sd_notify protocol, without libsystemd.

Outside a service NOTIFY_SOCKET is not set and every call here does nothing, so callers need not ask.
source: sd_notify(3), "Notes"
"""

from __future__ import annotations

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
"""Send it on progress only (a new frame was looked at), never from a timer: a stuck loop must be restarted."""


def notify(*lines: str) -> bool:
    """Send `READY`, `ALIVE`, `STOPPING` or "STATUS=what a person reads". Returns whether it was sent.

    A supervisor that has gone away, or reads nothing any more, is no reason to stop guiding: it counts as not sent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not lines or not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.setblocking(False)
            connection.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True
