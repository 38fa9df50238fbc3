"""What the pages for admins work on, and who may ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlencode

from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse

from server.admin.gathered import WatchedHome
from server.admin.nights import NightControl
from server.admin.reckoned import Reckoned
from server.admin.settings_file import SettingsFile
from server.dataset.folder import Dataset
from server.metrics.collected import ServerMetrics
from server.releases.rollouts import Rollouts
from server.telling.push import PushWay
from server.web import person
from server.web.person import Person, Role

UNITS = ("bytes", "KB", "MB", "GB", "TB")
DONE_MOST = 300


class TellingPort(Protocol):
    """Sends a test to a person (server.telling.loop.Telling). Raises: Refused, ConfigError."""

    def test(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class AdminDesk:
    """Everything that the pages need."""

    watched: WatchedHome
    dataset: Dataset
    reckoned: Reckoned
    rollouts: Rollouts
    nights: NightControl
    settings: SettingsFile
    telling: TellingPort
    push: PushWay
    metrics: ServerMetrics
    enrolment_address: Callable[[], str]
    """HOST:PORT that a device is told. Raises: ConfigError."""
    may_enrol: bool
    """The settings have a broker with certificates, and a place to enrol."""
    metrics_token: str = ""
    """Whoever shows it may read /metrics; "" = nobody from elsewhere."""


def admin_only(request: Request) -> Person:
    """A dependency of every route here. Raises: HTTPException (403)."""
    asks = person.of(request)
    if asks.role is not Role.ADMIN:
        raise HTTPException(403, "This page is for those who run the server.")
    return asks


def back(path: str, done: str) -> RedirectResponse:
    """To a page, with what was just done."""
    return RedirectResponse(f"{path}?{urlencode({'done': done[:DONE_MOST]})}#status", status_code=303)


def size(count: float) -> str:
    """Bytes for people."""
    value, unit = float(count), 0
    while abs(value) >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def when(at_s: float | None) -> str:
    """Wall time for people, in UTC; a wild one of a device's clock is told as such."""
    if at_s is None:
        return "never"
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "a time that no clock has"
