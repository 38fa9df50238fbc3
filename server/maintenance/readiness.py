"""What the service manager is told of `run`: ready once the page is up, and what it still waits for. Pure.

systemd restarts a service that does not say READY in time. The page and its reviews need no broker, so a broker that is
away must not end them: it is named in the status line instead, until it is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.notify import READY


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """How far a server is."""

    page: bool = False
    """The page is served."""
    broker: bool = False
    """The broker is reached, and brings what devices send."""

    @property
    def complete(self) -> bool:
        return self.page and self.broker


@dataclass(frozen=True, slots=True)
class ServerPlaces:
    """Where both are, for people."""

    page: str
    """Its URL."""
    broker: str
    """HOST:PORT"""


def told(before: ServerStanding, now: ServerStanding, places: ServerPlaces) -> tuple[str, ...]:
    """Lines for sd_notify(3) after a change, none where nothing changed."""
    if now == before:
        return ()
    status = f"STATUS={in_one_line(now, places)}"
    return (READY, status) if now.page and not before.page else (status,)


def printed(before: ServerStanding, now: ServerStanding, places: ServerPlaces) -> str:
    """What people at a terminal are told after a change until all is there, "" = nothing."""
    if now.complete:
        return f"Ready: review page {places.page}, broker {places.broker}. Ctrl-C stops."
    if now.page and not before.page:
        return f"Review page {places.page}; waiting for the broker at {places.broker}. Ctrl-C stops."
    return ""


def in_one_line(now: ServerStanding, places: ServerPlaces) -> str:
    """For `systemctl status`."""
    if not now.page:
        return "starting"
    broker = f"broker {places.broker}" if now.broker else f"waiting for the broker at {places.broker}"
    return f"page {places.page}, {broker}"
